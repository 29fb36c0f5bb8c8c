"""The fast path against plain loops written from the papers: random sizes, windows, switches and horizons."""

from __future__ import annotations

import dataclasses
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
def videos(draw: st.DrawFn, switches: int) -> Video:
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
    chunk = draw(st.sampled_from(range(1, 5)))
    chunks = draw(st.sampled_from(range(3, 11)))
    independent = draw(st.booleans()) and chunk > 1
    first = 1 if independent else chunk
    kinds = st.sampled_from(["smooth", "hardcut", "recall"])
    boundaries = draw(st.lists(st.integers(1, chunks - 1), min_size=switches, max_size=2, unique=True).map(sorted))
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
    )


@dataclasses.dataclass(frozen=True)
class Mode:
    """One way to use a strategy; the knobs not fixed here are drawn."""

    strategy: str
    fixed: dict[str, Any] = dataclasses.field(default_factory=dict)
    switches: int = 0

    def __str__(self) -> str:
        return "-".join([self.strategy, *map(str, self.fixed.values())])


SWITCHING = [("keep", 0), ("flush", 1), ("recache", 1), ("recache_all", 1)]
MODES = [
    Mode("full"),
    *(
        Mode(name, {"positions": positions, "on_switch": on_switch}, switches)
        for name in ("sliding_window", "attention_sink")
        for positions in ("absolute", "relative")
        for on_switch, switches in SWITCHING
    ),
    Mode("infinity_rope", {"pinned_at": None}, 1),
    Mode("infinity_rope", {}, 1),
    *(
        Mode("memrope", {"pooling": pooling, "init": init})
        for pooling in ("chunk", "position", "adaptive")
        for init in ("released", "paper")
    ),
]


@st.composite
def knobs(draw: st.DrawFn, mode: Mode, chunk: int) -> dict[str, Any]:
    """Windows of every size that fits: sinks larger than a chunk, and windows it does not divide, included."""
    sink = draw(st.sampled_from(range(6)))
    room = draw(st.sampled_from(range(10)))
    drawn: dict[str, Any] = {}
    if mode.strategy == "sliding_window":
        drawn = {"window": chunk + room}
    elif mode.strategy == "attention_sink":
        drawn = {"window": sink + chunk + room, "sink": sink}
    elif mode.strategy == "infinity_rope":
        drawn = {
            "window": sink + chunk + room,
            "sink": sink,
            "flush_keep": draw(st.integers(0, 3)),
            "cut": draw(st.sampled_from([0, 45, 2000])),
            "pinned_at": draw(st.integers(sink + chunk - 1, 25)),
        }
    elif mode.strategy == "memrope":
        long, short = draw(st.sampled_from([(0.01, 0.1), (0.3, None), (None, 0.2), (0.5, 0.15)]))
        memories = (long is not None) + (short is not None)
        drawn = {"window": sink + memories + chunk + room, "sink": sink, "alpha_long": long, "alpha_short": short}
    return drawn | mode.fixed


@pytest.mark.parametrize("mode", MODES, ids=str)
@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_rollout_is_what_the_oracle_computes(mode: Mode, data: st.DataObject) -> None:
    video = data.draw(videos(mode.switches))
    chosen = data.draw(knobs(mode, video.chunk))
    extra = {"accumulator": data.draw(st.sampled_from(["float32", "cache"]))} if mode.strategy == "memrope" else {}
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
    ours = [
        chunk.latents for chunk in rollout(backbone, strategy(mode.strategy, **chosen, **extra), layout=layout, **asked)
    ]
    theirs = oracle.rollout(
        dict(model.state_dict()),
        dataclasses.asdict(video.config),
        strategy=mode.strategy,
        knobs=chosen,
        chunk=video.chunk,
        steps=video.steps,
        shift=video.shift,
        independent_first_frame=video.independent_first_frame,
        **asked,
    )
    generated = theirs[:, video.frames(video.initial_chunks) :]
    torch.testing.assert_close(torch.cat(ours, 1), generated, rtol=0, atol=TOLERANCE)
