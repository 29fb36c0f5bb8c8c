"""Knobs of the strategies that keep whole frames, checked. All lengths in latent frames."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True, kw_only=True)
class FullKnobs:
    """Everything is visible, for ever."""


@dataclass(frozen=True, kw_only=True)
class SinkKnobs:
    """Window with sink frames (spec 3.1, 3.3); without any it is the plain sliding window."""

    window: int
    sink: int
    positions: str
    on_switch: str
    pinned_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class InfinityKnobs:
    """Block-relative window with flush and cut (spec 5)."""

    window: int = 6
    sink: int = 1
    flush_keep: int = 2
    cut: int = 45
    pinned_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class MemoryKnobs:
    """Sink, long and short memory frames, local frames (spec 4); a stream without alpha does not exist."""

    window: int = 12
    sink: int = 3
    alpha_long: float | None = 0.01
    alpha_short: float | None = 0.1
    pooling: str
    init: str


@dataclass(frozen=True, kw_only=True)
class RollingKnobs:
    """The first frames, seen forth and back, and the latest chunk."""

    window: int
    positions: str


@dataclass(frozen=True, kw_only=True)
class AbsorbingKnobs:
    """A sink of one chunk that absorbs what leaves, and local frames."""

    window: int
    sink: int
    alpha: float


Knobs = FullKnobs | SinkKnobs | InfinityKnobs | MemoryKnobs | RollingKnobs | AbsorbingKnobs


KINDS: Mapping[str, Callable[..., Knobs]] = {
    "full": FullKnobs,
    "sliding_window": partial(SinkKnobs, sink=0),
    "attention_sink": SinkKnobs,
    "infinity_rope": InfinityKnobs,
    "memrope": MemoryKnobs,
    "rolling_sink": RollingKnobs,
    "ema_sink": AbsorbingKnobs,
}


def parse_knobs(strategy: str, knobs: Mapping[str, Any], n: int) -> Knobs:
    """Knobs by name -> typed knobs; an unknown, missing or impossible one is an error."""
    parsed = KINDS[strategy](**knobs)
    if isinstance(parsed, SinkKnobs | RollingKnobs):
        require(parsed.positions, "absolute", "relative")
    if isinstance(parsed, SinkKnobs):
        require(parsed.on_switch, "keep", "flush", "recache", "recache_all")
    if isinstance(parsed, MemoryKnobs):
        require(parsed.pooling, "chunk", "position", "adaptive")
        require(parsed.init, "released", "paper")
    if not isinstance(parsed, FullKnobs):
        check_window(parsed, n)
    return parsed


def check_window(knobs: RollingKnobs | AbsorbingKnobs | SinkKnobs | InfinityKnobs | MemoryKnobs, n: int) -> None:
    """The parts of a memory and a chunk of n frames fit into its window."""
    if isinstance(knobs, RollingKnobs):
        least = 2 * n
    else:
        least = knobs.sink + (stream_count(knobs) if isinstance(knobs, MemoryKnobs) else 0) + n
    if knobs.window < least:
        raise ValueError(f"window {knobs.window} has no room for sink, memory and a chunk of {n}")
    if isinstance(knobs, RollingKnobs | AbsorbingKnobs) and knobs.window % n:
        raise ValueError(f"window {knobs.window} is no multiple of a chunk of {n}")
    if isinstance(knobs, AbsorbingKnobs) and knobs.sink != n != 1:
        raise ValueError(f"a sink of {knobs.sink} cannot absorb chunks of {n}")


def require(value: str, *choices: str) -> None:
    """The value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{value!r} is none of {choices}")


def stream_count(knobs: MemoryKnobs) -> int:
    """Number of memory slots."""
    return (knobs.alpha_long is not None) + (knobs.alpha_short is not None)
