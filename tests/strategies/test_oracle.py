"""The fast path against plain loops written from the papers: random sizes, windows, switches and horizons."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.backbone.presets import Backbone, scramble
from harness.backbone.sampler import Sampler
from harness.backbone.wan import CausalWan, WanConfig
from harness.noise import PairedNoise
from harness.registry import strategy
from harness.rollout import rollout
from tests.oracle import rollout as oracle

TOLERANCE = 2e-5
CASES = 200


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

    @property
    def first(self) -> int:
        return 1 if self.independent_first_frame else self.chunk

    def frames(self, chunks: int) -> int:
        return self.first + (chunks - 1) * self.chunk if chunks else 0


@st.composite
def videos(draw: st.DrawFn) -> Video:
    heads, head_dim = draw(st.integers(1, 3)), draw(st.sampled_from([6, 8, 12, 20]))
    patch = draw(st.sampled_from([(1, 1, 1), (1, 2, 2), (1, 1, 2)]))
    config = WanConfig(
        dim=heads * head_dim,
        ffn_dim=draw(st.sampled_from([8, 20])),
        num_heads=heads,
        num_layers=draw(st.integers(1, 2)),
        in_dim=4,
        out_dim=4,
        text_dim=8,
        text_len=draw(st.integers(2, 5)),
        freq_dim=16,
        patch_size=patch,
    )
    chunk = draw(st.integers(1, 4))
    chunks = draw(st.integers(2, 9))
    independent = draw(st.booleans()) and chunk > 1
    first = 1 if independent else chunk
    kinds = st.sampled_from(["smooth", "hardcut", "recall"])
    boundaries = draw(st.lists(st.integers(1, chunks - 1), max_size=2, unique=True).map(sorted))
    # Any frame of the chunk before asks for the same boundary.
    switches = tuple(
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
        switches=switches,
        seed=draw(st.integers(0, 2**31)),
    )


def windows(chunk: int, slack: int = 9) -> st.SearchStrategy[tuple[int, int]]:
    """(window, sink) that fit, sinks larger than a chunk and windows it does not divide included."""
    return st.integers(0, 5).flatmap(
        lambda sink: st.tuples(st.integers(sink + chunk, sink + chunk + slack), st.just(sink))
    )


@st.composite
def knobs(draw: st.DrawFn, name: str, chunk: int) -> dict[str, Any]:
    on_switch = st.sampled_from(["keep", "flush", "recache", "recache_all"])
    positions = st.sampled_from(["absolute", "relative"])
    window, sink = draw(windows(chunk))
    if name == "full":
        return {}
    if name == "sliding_window":
        return {"window": window, "positions": draw(positions), "on_switch": draw(on_switch)}
    if name == "attention_sink":
        return {"window": window, "sink": sink, "positions": draw(positions), "on_switch": draw(on_switch)}
    if name == "infinity_rope":
        return {
            "window": window,
            "sink": sink,
            "flush_keep": draw(st.integers(0, 3)),
            "cut": draw(st.sampled_from([0, 45, 2000])),
            "pinned_at": draw(st.none() | st.integers(sink + chunk - 1, 25)),
        }
    alphas = draw(st.sampled_from([(0.01, 0.1), (0.3, None), (None, 0.2), (0.5, 0.15)]))
    return {
        "window": window + sum(alpha is not None for alpha in alphas),
        "sink": sink,
        "alpha_long": alphas[0],
        "alpha_short": alphas[1],
        "pooling": draw(st.sampled_from(["chunk", "position", "adaptive"])),
        "init": draw(st.sampled_from(["released", "paper"])),
    }


NAMES = ["full", "sliding_window", "attention_sink", "infinity_rope", "memrope"]


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_rollout_is_what_the_oracle_computes(name: str, data: st.DataObject) -> None:
    video = data.draw(videos())
    chosen = data.draw(knobs(name, video.chunk))
    extra = {"accumulator": data.draw(st.sampled_from(["float32", "cache"]))} if name == "memrope" else {}
    layout = data.draw(st.sampled_from(["chunk", "pass"]))
    model = scramble(CausalWan(video.config), video.seed).requires_grad_(False)
    generator = torch.Generator().manual_seed(video.seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    text = random(video.batch, video.config.text_len, video.config.text_dim)
    switches = [
        (frame, random(video.batch, video.config.text_len - 1, video.config.text_dim), kind)
        for frame, kind in video.switches
    ]
    initial = None
    if video.initial_chunks:
        initial = random(video.batch, video.frames(video.initial_chunks), video.config.in_dim, *video.latent_size)
    asked = {
        "prompts": text,
        "latent_frames": video.frames(video.chunks),
        "latent_size": video.latent_size,
        "noise": PairedNoise([(video.seed, str(row)) for row in range(video.batch)]),
        "switches": switches,
        "initial": initial,
    }
    backbone = Backbone(
        model=model,
        sampler=Sampler(steps=video.steps, shift=video.shift),
        chunk=video.chunk,
        independent_first_frame=video.independent_first_frame,
    )
    ours = [chunk.latents for chunk in rollout(backbone, strategy(name, **chosen, **extra), layout=layout, **asked)]
    theirs = oracle.rollout(
        dict(model.state_dict()),
        dataclasses.asdict(video.config),
        strategy=name,
        knobs=chosen,
        chunk=video.chunk,
        steps=video.steps,
        shift=video.shift,
        independent_first_frame=video.independent_first_frame,
        **asked,
    )
    generated = theirs[:, video.frames(video.initial_chunks) :]
    # Random weights may let latents grow; the bar is 2e-5 of numbers of order one.
    scale = max(1.0, math.ceil(generated.abs().max().item() / 4))
    torch.testing.assert_close(torch.cat(ours, 1), generated, rtol=0, atol=TOLERANCE * scale)
