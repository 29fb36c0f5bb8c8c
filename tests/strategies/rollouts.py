"""Random rollouts of every strategy, and what the oracle says of them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from harness.backbone.presets import Backbone, scramble
from harness.backbone.sampler import Sampler
from harness.backbone.wan import CausalWan, WanConfig
from harness.memory import Strategy
from harness.registry import strategy
from harness.rollout import rollout
from harness.rollout.noise import PairedNoise
from tests.oracle import rollout as oracle
from tests.strategies.modes import Mode

TOLERANCES = {"float32": 2e-5, "float64": 1e-9}


@dataclasses.dataclass(frozen=True)
class Video:
    """Everything of a rollout but its memory."""

    config: WanConfig
    chunk: int
    independent_first_frame: bool
    steps: tuple[int, ...]
    shift: float
    chunks: int
    initial_chunks: int
    latent_size: tuple[int, int]
    batch: int
    switches: tuple[tuple[int, str], ...]
    seed: int
    dtype: str
    spoken: bool = False
    """Whether prompts are given as text, too."""

    @property
    def first(self) -> int:
        return 1 if self.independent_first_frame else self.chunk

    def frames(self, chunks: int) -> int:
        return self.first + (chunks - 1) * self.chunk if chunks else 0


@st.composite
def videos(draw: st.DrawFn, mode: Mode) -> Video:
    heads, head_dim = draw(st.integers(1, 3)), draw(st.sampled_from([6, 8, 12, 20]))
    patch = draw(st.sampled_from([(1, 1, 1), (1, 2, 2), (1, 1, 2)]))
    config = WanConfig(
        dim=heads * head_dim,
        ffn_dim=draw(st.sampled_from([8, 20])),
        num_heads=heads,
        num_layers=draw(st.integers(1, mode.layers)),
        in_dim=4,
        out_dim=4,
        text_dim=8,
        text_len=draw(st.integers(2, 5)),
        freq_dim=16,
        patch_size=patch,
    )
    chunk = draw(st.sampled_from(range(1, 5)))
    chunks = draw(st.sampled_from(range(3, mode.chunks + 1)))
    independent = draw(st.booleans()) and chunk > 1
    first = 1 if independent else chunk
    kinds = st.sampled_from(["smooth", "hardcut", "recall"])
    boundaries = draw(
        st.lists(st.integers(1, chunks - 1), min_size=mode.switches, max_size=mode.most_switches, unique=True).map(
            sorted
        )
    )
    # Any frame of the chunk before asks for the same boundary.
    entered = tuple(
        (first + (number - 1) * chunk - draw(st.integers(0, (first if number == 1 else chunk) - 1)), draw(kinds))
        for number in boundaries
    )
    return Video(
        config=config,
        chunk=chunk,
        independent_first_frame=independent,
        steps=draw(st.sampled_from([(1000, 750, 500, 250), (1000, 500), (1000,)])),
        shift=draw(st.sampled_from([5.0, 8.0, 1.0])),
        chunks=chunks,
        initial_chunks=draw(st.sampled_from([0, 0, 1, chunks - 1])),
        latent_size=(patch[1] * draw(st.integers(1, 2)), patch[2] * draw(st.integers(1, 3))),
        batch=draw(st.integers(1, 2)),
        switches=entered,
        seed=draw(st.integers(0, 2**31)),
        dtype=draw(st.sampled_from(mode.dtypes)),
        spoken=mode.strategy == "echo_forcing" and draw(st.booleans()),
    )


def both(mode: Mode, video: Video, knobs: dict[str, Any], options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Latents of the rollout as this package generates them, and as the oracle does.

    options: knobs that must not matter to the result, and the layout.
    """
    dtype = getattr(torch, video.dtype)
    model = scramble(CausalWan(video.config).to(dtype), video.seed).requires_grad_(False)
    generator = torch.Generator().manual_seed(video.seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    text = normal(video.batch, video.config.text_len, video.config.text_dim)
    switches = [
        (frame, normal(video.batch, video.config.text_len - 1, video.config.text_dim), kind)
        for frame, kind in video.switches
    ]
    initial = None
    if video.initial_chunks:
        initial = normal(video.batch, video.frames(video.initial_chunks), video.config.in_dim, *video.latent_size)
    asked = {
        "prompts": text,
        "latent_frames": video.frames(video.chunks),
        "latent_size": video.latent_size,
        "noise": PairedNoise([(video.seed, str(row)) for row in range(video.batch)]),
        "switches": switches,
        "initial": initial,
    }
    if video.spoken:
        texts = spoken(video)
        asked |= {"texts": texts[0], "encode": encoder(video)}
        asked["switches"] = [(*switch, said) for switch, said in zip(switches, texts[1:], strict=True)]
    backbone = Backbone(
        model=model,
        sampler=Sampler(steps=video.steps, shift=video.shift),
        chunk=video.chunk,
        independent_first_frame=video.independent_first_frame,
        latent_size=video.latent_size,
    )
    layout = options.pop("layout")
    chosen = strategy(mode.strategy, **mode.made(knobs), **options)
    adapted = filled(chosen, backbone, video.seed)
    ours = [chunk.latents for chunk in rollout(backbone, chosen, layout=layout, **asked)]
    theirs = oracle.rollout(
        dict(adapted.state_dict()),
        dataclasses.asdict(video.config),
        strategy=mode.strategy,
        knobs=knobs,
        chunk=video.chunk,
        steps=video.steps,
        shift=video.shift,
        independent_first_frame=video.independent_first_frame,
        **asked,
    )
    return torch.cat(ours, 1), theirs[:, video.frames(video.initial_chunks) :]


def filled(chosen: Strategy, backbone: Backbone, seed: int) -> CausalWan:
    """The backbone as the strategy adapts it, with random parameters wherever it brings its own."""
    adapted = chosen.adapt(backbone).model
    own = {id(weight) for weight in backbone.model.parameters()}
    generator = torch.Generator().manual_seed(seed + 1)
    for name, weight in adapted.named_parameters():
        if id(weight) in own:
            continue
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        if "norm" in name and name.endswith("weight"):
            noise = 1 + 0.1 * noise
        elif weight.ndim == 2 and not name.endswith("query_init"):
            noise = noise / max(weight.shape[1], 1) ** 0.5
        with torch.no_grad():
            weight.copy_(noise)
    assert chosen.adapt(backbone).model is adapted, "another rollout would not see these parameters"
    return adapted


VOCABULARY = ("fox", "den", "snow", "castle", "river", "boat", "moon", "the", "with", "again", "o'clock", "it", "Fox")


def spoken(video: Video) -> list[list[str]]:
    """Prompts of each scene, one a row. A word of its own, more often in later scenes, leaves no two alike."""
    drawn = random.Random(video.seed)
    return [
        [
            " ".join([*[f"scene{letter}"] * (number + 1), *drawn.choices(VOCABULARY, k=drawn.randint(0, 6))])
            for _ in range(video.batch)
        ]
        for number, letter in zip(range(len(video.switches) + 1), "abcdefgh", strict=False)
    ]


def encoder(video: Video) -> Callable[[Sequence[str]], Tensor]:
    """A text encoder with a random vector for every word, padded with zeros."""

    def vector(word: str) -> Tensor:
        drawn = random.Random(word)
        return torch.tensor([drawn.gauss(0, 1) for _ in range(video.config.text_dim)])

    def encode(texts: Sequence[str]) -> Tensor:
        encoded = torch.zeros(len(texts), 16, video.config.text_dim)
        for row, text in enumerate(texts):
            for place, word in enumerate(text.split()):
                encoded[row, place] = vector(word)
        return encoded

    return encode
