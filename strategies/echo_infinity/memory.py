"""A window behind a sink, and between them queries into which everything has gone that left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.backbone.rope import Rope, head_radians, rotate
from harness.memory import At, Context, Entries, MemorySpec
from harness.memory.frames import FrameCache
from strategies.echo_infinity.encoder import QueryMemoryEncoder

if TYPE_CHECKING:
    from strategies.echo_infinity.strategy import EchoInfinity


class QueryMemory(FrameCache):
    """Groups of consecutive layers share queries; with one group, all do.

    An update is due when frames have left the window of the layers that are read. As released it is made after the
    first pass of the next chunk, which still sees the memory as it was; until then what left is held in `leaving`.
    """

    def __init__(self, spec: MemorySpec, knobs: EchoInfinity, encoders: Sequence[QueryMemoryEncoder]) -> None:
        super().__init__(
            spec, window=knobs.window, sink=knobs.sink, positions=knobs.positions, on_switch=knobs.on_switch
        )
        self.knobs, self.encoders = knobs, encoders
        self.room = knobs.window - spec.chunk
        self.capacity = self.room + knobs.memory
        self.sources = knobs.sources(spec.layers)
        self.leaving: dict[int, dict[int, Entries]] = {}  # of the layers that are read, frame by frame
        self.due = False  # whether frames have left that no update has seen
        self.queries: list[Tensor] = []  # of each group, [B, M, D]; none before the first update
        self.memories: list[Entries] = []  # what layers read of them

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        if self.stale(at.pass_index):
            self.update()
        kept = self.kept[layer]
        ids, frames = list(kept), list(kept.values())
        sink, local = ids[: self.sink], ids[self.sink :]
        newest = at.start + at.frames - 1
        start = (newest if self.positions == "absolute" else min(newest, self.knobs.reach - 1)) - at.frames + 1
        first = start - len(local)
        # A pass over many frames, as at a prompt switch, would see in the memory what it is about to make anew.
        shown = [self.memories[self.group(layer)]] if self.memories and self.sees_memory(at.frames) else []
        behind = range(first - self.knobs.memory, first) if shown else ()
        places = [*(sink if self.positions == "absolute" else range(len(sink))), *behind, *range(first, start)]
        return Context((*frames[: self.sink], *shown, *frames[self.sink :]), places, start)

    def sees_memory(self, frames: int) -> bool:
        """Whether a pass over so many frames attends to the memory."""
        return frames <= self.spec.chunk or self.knobs.memory_recache

    def stale(self, pass_index: int) -> bool:
        return pass_index > 0 and self.due

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        if layer == 0 and self.due:
            if at.frames <= self.spec.chunk:
                # The chunk had this one pass only.
                self.update()
            else:
                # What left is made anew here, and leaves again.
                self.due, self.leaving = False, {}
        super().remember(layer, entries, query, at)
        if layer == self.spec.layers - 1 and self.due and self.knobs.update == "clean":
            self.update()

    def trim(self, layer: int) -> None:
        kept = self.kept[layer]
        ids = list(kept)[self.sink : self.sink + max(0, len(kept) - self.room)]
        gone = dict(zip(ids, self.drop(layer, ids), strict=True))
        if gone and self.knobs.memory:
            self.due = True
            if layer in self.sources and self.knobs.update != "never":
                self.leaving[layer] = gone

    def update(self) -> None:
        """Let what is leaving into the queries, and go."""
        knobs = self.knobs
        if knobs.update != "never":
            self.queries = [
                encoder.updated(queries, *self.evicted(source), gated=knobs.gate, residual=knobs.residual)
                for encoder, queries, source in zip(self.encoders, self.current(), self.sources, strict=True)
            ]
        self.due, self.leaving = False, {}
        self.read()

    def detach(self) -> None:
        """Let no gradient go further back."""
        self.queries = [queries.detach() for queries in self.queries]
        if self.memories:
            self.read()

    def evicted(self, source: int) -> tuple[Tensor, Tensor]:
        """Keys and values [B, N, heads, channels] of what is leaving a layer, as they were attended to: turned, with
        absolute positions, else not."""
        leaving = self.leaving[source]
        parts = [self.kept[source][frame] for frame in list(self.kept[source])[: self.sink * self.knobs.sink_anchor]]
        keys, values = (x.flatten(1, 2) for x in Entries.cat([*parts, *leaving.values()]).tensors)
        if self.positions == "absolute":
            spec, ids = self.spec, [*list(self.kept[source])[: len(parts)], *leaving]
            assert spec.grid is not None
            wide = torch.promote_types(spec.dtype, torch.float32)
            keys = rotate(keys, Rope(head_radians(keys.shape[-1]), spec.grid, wide, spec.device).frames(ids))
        return keys, values

    def current(self) -> list[Tensor]:
        """Queries of each group as they are now: the initial ones until an update."""
        return self.queries or [encoder.start(self.spec.batch) for encoder in self.encoders]

    def read(self) -> None:
        """Make keys and values of the memory."""
        self.memories = [
            Entries(*encoder.read(queries)) for encoder, queries in zip(self.encoders, self.current(), strict=True)
        ]

    def group(self, layer: int) -> int:
        """The group of a layer."""
        return layer * self.knobs.groups // self.spec.layers

    def held(self, layer: int) -> Mapping[int, Entries]:
        return {**self.leaving.get(layer, {}), **self.kept[layer]}

    def stored(self) -> Iterable[Tensor]:
        leaving = [x for frames in self.leaving.values() for entries in frames.values() for x in entries.tensors]
        memories = [x for entries in self.memories for x in entries.tensors]
        return [*super().stored(), *leaving, *self.queries, *memories]

    def state_dict(self) -> dict[str, Any]:
        leaving = {
            source: {frame: list(entries.tensors) for frame, entries in frames.items()}
            for source, frames in self.leaving.items()
        }
        more = {"due": self.due, "leaving": leaving, "queries": self.queries, "begun": bool(self.memories)}
        return super().state_dict() | more

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.leaving = {
            source: {frame: Entries(*tensors) for frame, tensors in frames.items()}
            for source, frames in state["leaving"].items()
        }
        self.due, self.queries = state["due"], list(state["queries"])
        if state["begun"]:
            with torch.no_grad():
                self.read()
