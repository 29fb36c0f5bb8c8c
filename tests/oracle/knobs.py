"""Knobs of the strategies that keep whole frames, checked. All lengths in latent frames."""

from collections.abc import Mapping
from dataclasses import dataclass
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


Knobs = FullKnobs | SinkKnobs | InfinityKnobs | MemoryKnobs


def parse_knobs(strategy: str, knobs: Mapping[str, Any], n: int) -> Knobs:
    """Knobs by name -> typed knobs; an unknown, missing or impossible one is an error."""
    parsed: Knobs
    if strategy == "full":
        parsed = FullKnobs(**knobs)
    elif strategy == "sliding_window":
        parsed = SinkKnobs(sink=0, **knobs)
    elif strategy == "attention_sink":
        parsed = SinkKnobs(**knobs)
    elif strategy == "infinity_rope":
        parsed = InfinityKnobs(**knobs)
    elif strategy == "memrope":
        parsed = MemoryKnobs(**knobs)
    else:
        raise ValueError(f"unknown strategy {strategy!r}")
    if isinstance(parsed, SinkKnobs):
        require(parsed.positions, "absolute", "relative")
        require(parsed.on_switch, "keep", "flush", "recache", "recache_all")
    if isinstance(parsed, MemoryKnobs):
        require(parsed.pooling, "chunk", "position", "adaptive")
        require(parsed.init, "released", "paper")
    if not isinstance(parsed, FullKnobs):
        streams = stream_count(parsed) if isinstance(parsed, MemoryKnobs) else 0
        if parsed.window < parsed.sink + streams + n:
            raise ValueError(f"window {parsed.window} has no room for sink, memory and a chunk of {n}")
    return parsed


def require(value: str, *choices: str) -> None:
    """The value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{value!r} is none of {choices}")


def stream_count(knobs: MemoryKnobs) -> int:
    """Number of memory slots."""
    return (knobs.alpha_long is not None) + (knobs.alpha_short is not None)
