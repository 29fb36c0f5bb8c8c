"""What one layer of a scored memory holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from harness.memory.entries import Entries
from harness.memory.packed import Packing, restored


@dataclass
class ScoredLayer:
    """What one layer holds. frames: whole ones by id. chosen: tokens, [B, frames, S, ...]; ids: of which frame and
    place, frame * S + place, [B, N]; uses: how often they were chosen, [B, N], where that is limited. running:
    accumulated scores of whole frames by id, [B, S]; chosen_running: those of the chosen tokens, [B, N]. queries:
    un-rotated ones of the commit pass of the last frames, [B, N, heads, channels]."""

    frames: dict[int, Entries] = field(default_factory=dict)
    chosen: Entries | None = None
    ids: Tensor | None = None
    uses: Tensor | None = None
    running: dict[int, Tensor] = field(default_factory=dict)
    chosen_running: Tensor | None = None
    queries: Tensor | None = None

    @property
    def chosen_frames(self) -> int:
        """Frames of chosen tokens."""
        return 0 if self.chosen is None else self.chosen.frames

    @property
    def total(self) -> int:
        """Frames of everything."""
        return len(self.frames) + self.chosen_frames

    def asked(self, query: Tensor) -> Tensor:
        """Return the kept queries, and those of a pass behind them."""
        return query if self.queries is None else torch.cat((self.queries, query), 1)

    def singles(self, sink: int) -> list[Entries]:
        """Return the frames of a context, one by one: sink, chosen tokens, then the others."""
        whole, chosen = list(self.frames.values()), self.chosen
        packed = [] if chosen is None else [chosen[slot : slot + 1] for slot in range(chosen.frames)]
        return [*whole[:sink], *packed, *whole[sink:]]

    def stored(self) -> Iterable[Tensor]:
        """Return every tensor of the layer."""
        for entries in (*self.frames.values(), *([] if self.chosen is None else [self.chosen])):
            yield from entries.stored
        yield from self.running.values()
        yield from (x for x in (self.ids, self.uses, self.chosen_running, self.queries) if x is not None)

    def state_dict(self) -> dict[str, Any]:
        """Return the layer as nested dicts and lists of tensors."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        frames = {frame: entries.state() for frame, entries in self.frames.items()}
        return own | {"frames": frames, "chosen": None if self.chosen is None else self.chosen.state()}

    @classmethod
    def of(cls, state: Mapping[str, Any], packing: Packing | None) -> ScoredLayer:
        """Return a layer from its state, for a memory that packs its frames so."""
        frames = {frame: restored(each, packing) for frame, each in state["frames"].items()}
        chosen = None if state["chosen"] is None else restored(state["chosen"], packing)
        return cls(**{**state, "frames": frames, "chosen": chosen, "running": dict(state["running"])})
