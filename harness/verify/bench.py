"""A tiny random backbone on which a memory is put through its paces, and a way to watch and to disturb it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, get_args

import torch
from torch import Tensor

from harness.backbone.presets import CUSTOM, Backbone, scramble
from harness.backbone.wan import CausalWan, WanConfig
from harness.memory import Boundary, Memory, MemorySpec, Strategy
from harness.memory.proxy import watched
from harness.rollout import Chunk, EncodedCue, rollout
from harness.rollout.noise import Noise, PairedNoise

CONFIG = WanConfig(
    dim=24, ffn_dim=32, num_heads=2, num_layers=2, in_dim=4, out_dim=4, text_dim=8, text_len=4, freq_dim=16
)
LATENT_SIZE = (4, 4)
STEADY_CHUNKS = 6
NAME = "workbench"
"""Name of the backbone here, unless it has one."""


@dataclass
class Workbench:
    """Rollouts of one strategy on a tiny random backbone (2 layers, 4 tokens a frame, chunks of 3, float32, CPU)."""

    strategy: Strategy
    backbone: Backbone = field(
        default_factory=lambda: Backbone(
            model=scramble(CausalWan(CONFIG)).requires_grad_(False), latent_size=LATENT_SIZE, trained_frames=9
        )
    )

    def __post_init__(self) -> None:
        if self.backbone.name == CUSTOM:
            self.backbone = replace(self.backbone, name=NAME)

    @property
    def chunk(self) -> int:
        """Latent frames of a chunk."""
        return self.backbone.chunk

    @property
    def layers(self) -> int:
        """Layers of the backbone."""
        return len(self.backbone.model.layers)

    @cached_property
    def chunks(self) -> int:
        """Enough chunks for the memory to fill and to evict several times."""
        capacity = self.strategy.open(self.spec()).capacity
        return STEADY_CHUNKS + (0 if capacity is None else -(-capacity // self.chunk))

    def spec(self, batch: int = 1) -> MemorySpec:
        """What the rollouts open the memory for."""
        model = self.strategy.adapt(self.backbone).model
        spec = model.memory_spec(CONFIG.grid(LATENT_SIZE), self.chunk, batch)
        return replace(spec, backbone=self.backbone.name)

    @staticmethod
    def noise(*seeds: int) -> PairedNoise:
        """A row of noise for each seed."""
        return PairedNoise([(seed, "workbench") for seed in seeds])

    @staticmethod
    def prompt(*seeds: int) -> Tensor:
        """Random text embeddings, a row for each seed."""
        rows = [torch.randn(3, CONFIG.text_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(rows)

    def switches(self, *at_chunks: int, rows: int = 1) -> list[EncodedCue]:
        """A prompt switch before each of these chunks, of every kind in turn, the same for all rows."""
        kinds = itertools.cycle(get_args(Boundary))
        return [
            EncodedCue(number * self.chunk, self.prompt(*[100 + number] * rows), kind)
            for number, kind in zip(at_chunks, kinds, strict=False)
        ]

    def roll(
        self,
        chunks: int | None = None,
        *,
        watch: Callable[[Memory], Memory] | None = None,
        seeds: tuple[int, ...] = (0,),
        noise: Noise | None = None,
        **options: Any,
    ) -> Iterable[Chunk]:
        """A rollout, its memory watched if `watch` is given."""
        return rollout(
            self.backbone,
            watched(self.strategy, watch) if watch else self.strategy,
            prompts=self.prompt(*seeds),
            latent_frames=(self.chunks if chunks is None else chunks) * self.chunk,
            latent_size=LATENT_SIZE,
            noise=noise or self.noise(*seeds),
            **options,
        )

    def latents(self, *args: Any, **options: Any) -> list[Tensor]:
        """The latents of a rollout, a tensor a chunk."""
        return [chunk.latents for chunk in self.roll(*args, **options)]
