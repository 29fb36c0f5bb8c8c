"""What a dense backbone's self-attention is given and gives, overheard while it makes videos."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from harness import registry
from harness.backbone.presets import Backbone
from harness.backbone.wan import CausalWan
from harness.noise import PairedNoise
from harness.rollout import Chunk, rollout

ENOUGH = 256
"""Tokens a channel of the model, of all passes together, from which moments are taken."""
CLIPS = 32
"""At most so many videos, each as long as the backbone was trained for."""
ROOM = 16_384
"""Tokens of clean video that are made at once."""

Ear = Callable[[int, Tensor], None]
"""Told of a layer and of what its self-attention is given, [B, N, D]."""


@contextmanager
def overheard(model: CausalWan, ear: Ear) -> Iterator[None]:
    """Tell `ear` what every self-attention is given, in every pass."""

    def listen(layer: int, query: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        ear(layer, x)
        return query(x)

    attentions = [block.self_attn for block in model.layers]
    for layer, attention in enumerate(attentions):
        # An attribute of the instance stands before the method of its class.
        attention.__dict__["query"] = partial(listen, layer, attention.query)
    try:
        yield
    finally:
        for attention in attentions:
            del attention.__dict__["query"]


@dataclass
class Moments:
    """Second moments of one layer over many tokens, float64.

    inputs: E[x x^T], [D, D]. queries, keys: E[q x^T] and E[k x^T] of the normed dense ones, [D, D].
    """

    inputs: Tensor
    queries: Tensor
    keys: Tensor
    tokens: int = 0

    def add(self, x: Tensor, query: Tensor, key: Tensor) -> None:
        """Take in some more, [..., D] each."""
        x, query, key = (each.reshape(-1, each.shape[-1]).double() for each in (x, query, key))
        fresh, before = x.shape[0], self.tokens
        self.tokens += fresh
        for kept, more in ((self.inputs, x), (self.queries, query), (self.keys, key)):
            kept.mul_(before / self.tokens).addmm_(more.T, x, alpha=1 / self.tokens)


def calibrate(backbone: Backbone) -> list[Moments]:
    """Moments of every layer over rollouts with full attention, all passes of all chunks.

    Prompts are the backbone's own examples; random embeddings for a bare model.
    """
    model = backbone.model
    dim, device = model.config.dim, model.device

    def nothing() -> Tensor:
        return torch.zeros(dim, dim, dtype=torch.float64, device=device)

    moments = [Moments(nothing(), nothing(), nothing()) for _ in model.layers]

    def ear(layer: int, x: Tensor) -> None:
        attention = model.layers[layer].self_attn
        query, key = type(attention).query(attention, x), attention.key_value(x)[0]
        moments[layer].add(x, query.flatten(2), key.flatten(2))

    tokens = math.prod(model.config.grid(backbone.latent_size)) * backbone.trained_frames
    clips = min(CLIPS, math.ceil(ENOUGH * dim / (tokens * (len(backbone.sampler.sigmas) + 1))))
    rows = max(1, ROOM // tokens)
    with overheard(model, ear):
        for first in range(0, clips, rows):
            for _ in played(backbone, min(rows, clips - first), first):
                pass
    return moments


def played(backbone: Backbone, clips: int, first: int = 0) -> Iterator[Chunk]:
    """Rollouts with full attention, as long as the backbone was trained for, from its example prompts in turn; from
    random embeddings where it has no words. `first`: number of the first clip."""
    one = int(backbone.independent_first_frame)
    frames = one + (backbone.trained_frames - one) // backbone.chunk * backbone.chunk
    numbers = range(first, first + clips)
    names = [backbone.prompts[number % len(backbone.prompts)] if backbone.prompts else "random" for number in numbers]
    return rollout(
        backbone,
        registry.strategy("full"),
        prompts=backbone.text(names) if backbone.text and backbone.prompts else _random_prompts(backbone, numbers),
        latent_frames=frames,
        latent_size=backbone.latent_size,
        noise=PairedNoise(list(zip(numbers, names, strict=True))),
    )


def _random_prompts(backbone: Backbone, numbers: Sequence[int]) -> Tensor:
    config, model = backbone.model.config, backbone.model
    shape = (min(16, config.text_len), config.text_dim)
    rows = [torch.randn(shape, generator=torch.Generator().manual_seed(number)) for number in numbers]
    return torch.stack(rows).to(model.device, model.dtype)
