"""Clips that a backbone makes itself: what there is to learn from where its own clips are not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from harness import registry
from harness.backbone.presets import Backbone
from harness.rollout import Chunk, rollout
from harness.rollout.noise import PairedNoise
from harness.training.clips import Clips, Source
from harness.training.schedule import Exercise


def clips_of(backbone: Backbone) -> Source:
    """Clips to train on: what a backbone was trained on itself, where that is known, else what it makes."""
    return backbone.clips or partial(rolled, backbone)


def rolled(backbone: Backbone, seed: int, number: int, exercise: Exercise) -> Clips:
    """Clips that a backbone makes itself, for one whose own are not known."""
    first = (seed % 2**10) * 2**30 + number * exercise.clips
    numbers = range(first, first + exercise.clips)
    clean = torch.cat([chunk.latents for chunk in played(backbone, exercise.clips, exercise.frames, first)], 1)
    chunks = clean.shape[1] // backbone.chunk
    opens = torch.zeros(len(clean), chunks, dtype=torch.bool, device=clean.device)
    opens[:, 0] = True
    return Clips(
        clean=clean,
        answer=clean,
        prompts=example_prompts(backbone, numbers),
        heard=torch.arange(len(clean), device=clean.device)[:, None].expand(-1, chunks),
        opens=opens,
        emphasis=torch.ones_like(clean[:, :, :1]),
    )


def played(backbone: Backbone, clips: int, frames: int, first: int = 0) -> Iterator[Chunk]:
    """Rollouts with full attention of at most so many latent frames, from the backbone's example prompts in turn, or
    from random embeddings where it has no words. `first`: number of the first clip."""
    one = int(backbone.independent_first_frame)
    numbers = range(first, first + clips)
    texts = example_texts(backbone, numbers)
    return rollout(
        backbone,
        registry.strategy("full"),
        prompts=example_prompts(backbone, numbers),
        latent_frames=one + (frames - one) // backbone.chunk * backbone.chunk,
        latent_size=backbone.latent_size,
        noise=PairedNoise(list(zip(numbers, texts, strict=True))),
    )


def example_texts(backbone: Backbone, numbers: Sequence[int]) -> list[str]:
    """Example prompts of these numbers, in turn."""
    words = backbone.prompts or ("",)
    return [words[number % len(words)] for number in numbers]


def example_prompts(backbone: Backbone, numbers: Sequence[int]) -> Tensor:
    """Their embeddings [numbers, L, text_dim]."""
    if backbone.text is not None and backbone.prompts:
        return backbone.text(example_texts(backbone, numbers))
    config, model = backbone.model.config, backbone.model
    shape = (min(16, config.text_len), config.text_dim)
    rows = [torch.randn(shape, generator=torch.Generator().manual_seed(number)) for number in numbers]
    return torch.stack(rows).to(model.device, model.dtype)
