"""Teacher forcing: all chunks of a clip learn in one pass, each from the clean chunks before it.

The rows of a batch are doubled: the upper half is the context (what a rollout commits), the lower half the chunks to
be denoised. Chunk i of the lower half attends to chunks before i of the upper half and to itself, as in a rollout. The
model's own code runs; only its attention functions are replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.backbone.kernels.attention import Attention
from harness.backbone.layout import LaidOut, room
from harness.backbone.rope import Rope
from harness.backbone.sampler import Sampler, to_clean, to_noisy
from harness.backbone.wan import CausalWan
from harness.memory import At
from harness.registry import strategy
from harness.rollout.passes import Passes
from harness.training.contexts.arranged import Arranged, Arrangement, identity_rotation
from harness.training.precision import half_precision


def explicit_attention(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return softmax attention [B, N, heads, channels], computed as two products.

    For sequences as short as these, the backward pass of torch's fused kernel takes three to five times as long on a
    CPU.
    """
    query, keys, values = (x.transpose(1, 2) for x in (query, keys, values))
    scores = (query @ keys.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    return (scores.softmax(-1).to(values.dtype) @ values).transpose(1, 2)


@dataclass(frozen=True)
class Forced:
    """Self-attention of doubled rows [2 B, N, heads, channels].

    tokens: tokens of a chunk. window: chunks of context, 0 for all previous chunks (a strategy's window also counts the
    chunk's own frames).
    """

    tokens: int
    window: int = 0

    def __call__(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        half, size = query.shape[0] // 2, self.tokens
        outputs = []
        for start in range(0, query.shape[1], size):
            here = slice(start, start + size)
            first = max(0, start - self.window * size) if self.window else 0
            seen = [
                # Both halves have the same context: entries of the upper half.
                torch.cat((torch.cat((x[:half, first:start],) * 2), x[:, here]), 1)
                for x in (keys, values)
            ]
            outputs.append(explicit_attention(query[:, here], *seen))
        return torch.cat(outputs, 1)


def per_chunk(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return cross-attention in which every chunk has its own prompt.

    query: [B, N, heads, channels]. keys, values: [B * chunks, L, heads, channels].
    """
    parts = query.unflatten(1, (keys.shape[0] // query.shape[0], -1)).flatten(0, 1)
    return explicit_attention(parts, keys, values).unflatten(0, (query.shape[0], -1)).flatten(1, 2)


@contextmanager
def attending(model: CausalWan, attention: Attention, to_prompt: Attention = per_chunk) -> Iterator[None]:
    """Replace the model's functions of self-attention and cross-attention within the context."""
    layers = model.layers
    before = [(block.self_attn.attention, block.cross_attn.attention) for block in layers]
    try:
        for block in layers:
            block.self_attn.attention, block.cross_attn.attention = attention, to_prompt
        yield
    finally:
        for block, (own, cross) in zip(layers, before, strict=True):
            block.self_attn.attention, block.cross_attn.attention = own, cross


OWN_STEPS = 2
"""Last steps of the sampler that the model itself computes in `Teacher.rehearse` and in training with memories."""


class Teacher:
    """Passes of a model over whole clips, [B, F, C, H, W], under teacher forcing."""

    def __init__(self, model: CausalWan, chunk: int, latent_size: tuple[int, int], compile: bool) -> None:
        self.model, self.chunk, self.compile = model, chunk, compile
        self.grid = model.config.grid(latent_size)
        self.rope = Rope(model.layers[0].self_attn.radians, self.grid, torch.float32, model.device)

    def flow(
        self,
        context: Tensor,
        noisy: Tensor,
        timesteps: Tensor,
        prompts: Tensor,
        heard: Tensor,
        window: int = 0,
        arrangement: Arrangement | None = None,
    ) -> Tensor:
        """Return the flow of `noisy`; each chunk is denoised at its own timestep [B, chunks], after those of `context`.

        prompts: [P, L, text_dim]. heard: index of each chunk's prompt, [B, chunks]. window: chunks of context, 0 for
        all. arrangement: the part of the context that every chunk sees, instead of a window of chunks.
        """
        batch, frames = noisy.shape[:2]
        timesteps = timesteps.repeat_interleave(self.chunk, 1)
        if frames > self.chunk:
            timesteps = torch.cat((torch.zeros_like(timesteps), timesteps))
            replayed = heard if arrangement is None else arrangement.replayed
            noisy, heard = torch.cat((context, noisy)), torch.cat((replayed, heard))
        rows, time = heard.flatten(), self.model.embed_time(timesteps)
        said = self.model.embed_prompt(prompts)
        prompt = [(keys.index_select(0, rows), values.index_select(0, rows)) for keys, values in said]
        rotation, attention = self.rope.frames(range(frames)), self._attention(window, arrangement)
        if arrangement is not None:
            rotation = identity_rotation(rotation)
        layout = self.model.layers[0].self_attn.layout
        laid_out = LaidOut(room(layout, noisy.shape[0], 0, noisy.dtype, noisy.device), rotation, room=False)
        with attending(self.model, attention):
            flow, _, _ = self.model(noisy, time, prompt, lambda layer: laid_out, compile=self.compile)
        assert flow is not None
        return flow[-batch:]

    def _attention(self, window: int, arrangement: Arrangement | None) -> Attention:
        if arrangement is not None:
            return Arranged(arrangement, self.rope, self.chunk)
        return Forced(self.chunk * self.grid[0] * self.grid[1], window)

    def flow_in_half_precision(
        self,
        context: Tensor,
        noisy: Tensor,
        timesteps: Tensor,
        prompts: Tensor,
        heard: Tensor,
        window: int = 0,
        arrangement: Arrangement | None = None,
    ) -> Tensor:
        """Return `flow` in float32, with its products computed in half precision where that is faster."""
        with half_precision(self.model.device):
            return self.flow(context, noisy, timesteps, prompts, heard, window, arrangement).float()

    @torch.no_grad()
    def rehearse(
        self,
        clean: Tensor,
        prompts: Tensor,
        heard: Tensor,
        opens: Tensor,
        sampler: Sampler,
        generator: torch.Generator,
    ) -> Tensor:
        """Return a rollout [B, F, C, H, W] of clips that is guided by the truth and remembers everything.

        Every chunk of the truth is noised, and the model denoises it by the sampler's last `OWN_STEPS` steps, after the
        chunks that the model made before. So the model remembers its own output with all errors, but its output stays
        close to the truth, which therefore remains the right target. Chunks that open [B, chunks] are the truth itself,
        since the model would draw something else there.
        """
        model, chunk = self.model, self.chunk
        batch, frames = clean.shape[:2]
        spec = model.memory_spec(self.grid, chunk, batch)
        passes = Passes(model, strategy("full").open(spec), spec, grid=self.grid, frames=frames)
        said = model.embed_prompt(prompts)
        levels = (*sampler.timesteps[-OWN_STEPS:], sampler.context_noise)
        *times, commit_time = [model.embed_time(torch.full((1, 1), level, device=model.device)) for level in levels]
        outputs = []
        for number, truth in enumerate(clean.split(chunk, 1)):
            start = number * chunk
            passes.prompt = [(keys[heard[:, number]], values[heard[:, number]]) for keys, values in said]
            made = truth
            for step, sigma in enumerate(sampler.sigmas[-OWN_STEPS:]):
                fresh = torch.randn(made.shape, generator=generator).to(made)
                noisy = to_noisy(made, fresh, sigma)
                made = to_clean(noisy, passes.denoise(noisy, times[step], At(start, chunk, step, commit=False)), sigma)
            made = torch.where(opens[:, number, None, None, None, None], truth, made)
            passes.commit(made, commit_time, At(start, chunk, OWN_STEPS, commit=True))
            outputs.append(made)
        return torch.cat(outputs, 1)
