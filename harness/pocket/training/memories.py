"""The memories whose contexts the pocket is trained on: registered strategies with random knobs.

The held-out group is never drawn, so that fairness to it is a result and not an effect of training: `HELD_OUT`,
VideoMLA, which has layers of its own, and every strategy that `DRAWN` does not name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from harness import registry
from harness.memory import Strategy
from harness.training.contexts.remembered import numpy_generator

Random = np.random.Generator
HELD_OUT = (
    "infinity_rope.pinned_at=20",
    "memrope.pooling=position",
    "memrope.pooling=adaptive",
    "attention_sink.window=15,sink=5,positions=relative",
    "attention_sink.on_switch=recache_all",
    "echo_forcing.hierarchy=false",
    "echo_forcing.compressed_rope=original",
)
SINK_HELD_OUT = 5
"""Number of sink frames that is never drawn."""


def _sink(rng: Random, most: int) -> int:
    sizes = [size for size in range(min(most, 6) + 1) if size != SINK_HELD_OUT]
    return int(rng.choice(sizes))


def _window(rng: Random) -> dict[str, Any]:
    return {
        "window": int(rng.integers(6, 37)),
        "positions": str(rng.choice(["absolute", "relative"])),
        "on_switch": str(rng.choice(["keep", "flush", "recache"])),
    }


def _attention_sink(rng: Random) -> dict[str, Any]:
    knobs = _window(rng)
    return {**knobs, "sink": _sink(rng, knobs["window"] - 3)}


def _infinity_rope(rng: Random) -> dict[str, Any]:
    window = int(rng.integers(6, 19))
    return {
        "window": window,
        "sink": _sink(rng, min(3, window - 3)),
        "flush_keep": int(rng.integers(2, 5)),
        "cut": int(rng.integers(6, 61)),
    }


def _memrope(rng: Random) -> dict[str, Any]:
    window = int(rng.integers(8, 22))
    return {
        "window": window,
        "sink": _sink(rng, window - 5),
        "alpha_long": float(rng.choice([0.01, 0.03])),
        "alpha_short": float(rng.choice([0.1, 0.3])),
        "init": str(rng.choice(["released", "paper"])),
    }


def _echo_forcing(rng: Random) -> dict[str, Any]:
    anchors, recent = int(rng.choice([3, 6, 9, 12])), int(rng.integers(3, 7))
    compressed = int(rng.integers(0, 4))
    return {
        "anchors": anchors,
        "compressed": compressed,
        "recent": recent,
        "rolling_cycle": int(rng.integers(0, (anchors + compressed + recent) // 3 + 1)),
        "compressed_rope": str(rng.choice(["slot", "time"])),
        "old_recent": int(rng.integers(0, 4)),
        "hardcut_jump": int(rng.integers(0, 46)),
    }


def _echo_infinity(rng: Random) -> dict[str, Any]:
    window = int(rng.integers(9, 19))
    return {
        "window": window,
        "sink": _sink(rng, min(3, window - 3)),
        "on_switch": str(rng.choice(["keep", "recache"])),
        "parameters": "untrained",
    }


DRAWN: Mapping[str, tuple[float, Callable[[Random], dict[str, Any]]]] = {
    "full": (0.06, lambda rng: {}),
    "sliding_window": (0.14, _window),
    "attention_sink": (0.2, _attention_sink),
    "infinity_rope": (0.18, _infinity_rope),
    "memrope": (0.14, _memrope),
    "echo_forcing": (0.2, _echo_forcing),
    "echo_infinity": (0.08, _echo_infinity),
}
"""Probability of each strategy, and the function that draws its knobs."""


def draw_strategy(generator: torch.Generator) -> Strategy:
    """Return a random strategy with random knobs."""
    rng = numpy_generator(generator)
    chances = np.array([chance for chance, _ in DRAWN.values()])
    name = str(rng.choice(list(DRAWN), p=chances / chances.sum()))
    return registry.strategy(name, **DRAWN[name][1](rng))
