"""Calibration: moments of the inputs and outputs of a dense backbone's self-attention, recorded during rollouts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.backbone.presets import Backbone
from harness.backbone.wan import CausalWan
from harness.training.rollout_clips import rollouts

ENOUGH = 256
"""Tokens a channel of the model, summed over all passes, from which moments are taken."""
CLIPS = 32
"""Most videos that a calibration generates, each as long as the backbone was trained for."""
ROOM = 16_384
"""Tokens of clean video that are generated at once."""

AttentionCallback = Callable[[int, Tensor, tuple[Any, ...], Tensor], None]
"""Callback of one self-attention call: the layer's number, its input [B, N, D], the arguments of the call (query, own
entries, context), and its output [B, N, D]."""


@contextmanager
def observing_attention(model: CausalWan, callback: AttentionCallback) -> Iterator[None]:
    """Call `callback` for every self-attention of every pass that is not compiled."""
    given: dict[int, Tensor] = {}

    def keep_input(layer: int, query: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        given[layer] = x
        return query(x)

    def answered(layer: int, module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        callback(layer, given.pop(layer), arguments, output)

    attentions = [block.self_attn for block in model.layers]
    hooks = []
    for layer, attention in enumerate(attentions):
        # An instance attribute takes precedence over the method of the class.
        attention.__dict__["query"] = partial(keep_input, layer, attention.query)
        hooks.append(attention.register_forward_hook(partial(answered, layer)))
    try:
        yield
    finally:
        for attention, hook in zip(attentions, hooks, strict=True):
            del attention.__dict__["query"]
            hook.remove()


@dataclass
class Moments:
    """Second moments of one layer over many tokens, float64.

    inputs: E[x x^T], [D, D]. queries, keys: E[q x^T] and E[k x^T] of the dense layer's normed queries and keys, [D, D].
    """

    inputs: Tensor
    queries: Tensor
    keys: Tensor
    tokens: int = 0

    def add(self, x: Tensor, query: Tensor, key: Tensor) -> None:
        """Include further tokens, [..., D] each."""
        x, query, key = (each.reshape(-1, each.shape[-1]).double() for each in (x, query, key))
        fresh, before = x.shape[0], self.tokens
        self.tokens += fresh
        for kept, more in ((self.inputs, x), (self.queries, query), (self.keys, key)):
            kept.mul_(before / self.tokens).addmm_(more.T, x, alpha=1 / self.tokens)


def calibrate(backbone: Backbone) -> list[Moments]:
    """Return the moments of every layer over rollouts with full attention, all passes of all chunks.

    Prompts are the backbone's own examples; a bare model gets random embeddings.
    """
    model = backbone.model
    dim, device = model.config.dim, model.device

    def nothing() -> Tensor:
        return torch.zeros(dim, dim, dtype=torch.float64, device=device)

    moments = [Moments(nothing(), nothing(), nothing()) for _ in model.layers]

    def add(layer: int, x: Tensor, arguments: tuple[Any, ...], output: Tensor) -> None:
        query, (key, _), _ = arguments
        moments[layer].add(x, query.flatten(2), key.flatten(2))

    tokens = math.prod(model.config.grid(backbone.latent_size)) * backbone.trained_frames
    clips = min(CLIPS, math.ceil(ENOUGH * dim / (tokens * (len(backbone.sampler.sigmas) + 1))))
    rows = max(1, ROOM // tokens)
    with observing_attention(model, add):
        for first in range(0, clips, rows):
            for _ in rollouts(backbone, min(rows, clips - first), backbone.trained_frames, first):
                pass
    return moments
