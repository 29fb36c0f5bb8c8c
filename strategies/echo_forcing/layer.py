"""State of one layer within a scene."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from harness.memory import Entries
from harness.memory.packed import Packing, restored
from strategies.echo_forcing.compression import Calibration


@dataclass
class Layer:
    """State of one layer. frames: whole frames by id, each stored once, whatever its roles. compressed: chosen tokens
    [B, compressed, S, ...]; places: their places in their original frames [B, compressed * S], if positions need them.
    uses: how often each token of the history was chosen, [B, S] a frame. queries: sum over the scene's clean passes
    [B, heads, channels]. fade: weights of carried entries [B, carried, S]; rates: their factor a chunk [B, S]."""

    frames: dict[int, Entries] = field(default_factory=dict)
    compressed: Entries | None = None
    places: Tensor | None = None
    uses: dict[int, Tensor] = field(default_factory=dict)
    calibration: Calibration | None = None
    queries: Tensor | None = None
    tokens: int = 0
    fade: Tensor | None = None
    rates: Tensor | None = None

    def stored(self) -> Iterable[Tensor]:
        for entries in (*self.frames.values(), *([self.compressed] if self.compressed else [])):
            yield from entries.stored
        yield from self.uses.values()
        if self.calibration is not None:
            yield from (self.calibration.total, self.calibration.size)
        yield from (x for x in (self.places, self.queries, self.fade, self.rates) if x is not None)

    def state_dict(self) -> dict[str, Any]:
        return {
            "frames": {frame: entries.state() for frame, entries in self.frames.items()},
            "compressed": None if self.compressed is None else self.compressed.state(),
            "uses": dict(self.uses),
            "calibration": None if self.calibration is None else self.calibration.state_dict(),
            **{name: getattr(self, name) for name in ("places", "queries", "tokens", "fade", "rates")},
        }

    @classmethod
    def of(cls, state: Mapping[str, Any], packing: Packing | None) -> Layer:
        made = cls(**{name: state[name] for name in ("places", "queries", "tokens", "fade", "rates")})
        made.frames = {frame: restored(each, packing) for frame, each in state["frames"].items()}
        made.compressed = None if state["compressed"] is None else restored(state["compressed"], packing)
        made.uses = dict(state["uses"])
        made.calibration = None if state["calibration"] is None else Calibration(**state["calibration"])
        return made
