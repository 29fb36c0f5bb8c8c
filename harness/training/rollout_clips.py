"""Training clips that a backbone generates itself, for backbones whose original training clips are not available."""

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
    """Return the source of training clips: those of the backbone's own training where they are known, else clips that
    it generates."""
    return backbone.clips or partial(generated_clips, backbone)


def generated_clips(backbone: Backbone, seed: int, number: int, exercise: Exercise) -> Clips:
    """Return clips that a backbone generates with full attention, as a `Source` does."""
    first = (seed % 2**10) * 2**30 + number * exercise.clips
    numbers = range(first, first + exercise.clips)
    clean = torch.cat([chunk.latents for chunk in rollouts(backbone, exercise.clips, exercise.frames, first)], 1)
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


def rollouts(backbone: Backbone, clips: int, frames: int, first: int = 0) -> Iterator[Chunk]:
    """Yield the chunks of rollouts with full attention, of at most `frames` latent frames.

    The prompts are the backbone's example prompts in turn, or random embeddings where it has no text encoder. first:
    number of the first clip.
    """
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
    """Return the example prompts of these numbers; "" for a backbone without prompts."""
    words = backbone.prompts or ("",)
    return [words[number % len(words)] for number in numbers]


def example_prompts(backbone: Backbone, numbers: Sequence[int]) -> Tensor:
    """Return the embeddings of the example prompts of these numbers, [numbers, L, text_dim]."""
    if backbone.text is not None and backbone.prompts:
        return backbone.text(example_texts(backbone, numbers))
    config, model = backbone.model.config, backbone.model
    shape = (min(16, config.text_len), config.text_dim)
    rows = [torch.randn(shape, generator=torch.Generator().manual_seed(number)) for number in numbers]
    return torch.stack(rows).to(model.device, model.dtype)
