"""A window behind a sink, and between them queries that accumulate all evicted frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from harness.backbone.rope import Rope, head_radians, rotate
from harness.memory import At, Context, Entries, MemorySpec, at_least_float32
from harness.memory.frames import FrameCache, OnSwitch, Positions
from harness.memory.packed import restored
from strategies.echo_infinity.encoder import QueryMemoryEncoder

Update = Literal["first_pass", "clean", "never"]


class QueryMemory(FrameCache):
    """Sink, window and learned queries. Groups of consecutive layers share queries; with one group, all layers do.

    An update is due when frames have left the window of the source layers. As released it is made after the first pass
    of the next chunk, which still sees the previous memory; until then the evicted frames are held in `leaving`.

    Parameters
    ----------
    encoders: the encoder of each group of layers.
    sources: the layer whose evicted entries each group reads.
    window, sink, positions, on_switch: as for `FrameCache`; all others are knobs of `EchoInfinity`.
    """

    def __init__(
        self,
        spec: MemorySpec,
        encoders: Sequence[QueryMemoryEncoder],
        sources: Sequence[int],
        *,
        window: int,
        sink: int,
        positions: Positions,
        on_switch: OnSwitch,
        memory: int,
        reach: int,
        update: Update,
        gate: bool,
        residual: bool,
        sink_anchor: bool,
        memory_recache: bool,
    ) -> None:
        super().__init__(spec, window=window, sink=sink, positions=positions, on_switch=on_switch)
        self.encoders, self.sources, self.memory, self.reach = encoders, sources, memory, reach
        self.updates, self.gate, self.residual = update, gate, residual
        self.sink_anchor, self.memory_recache = sink_anchor, memory_recache
        self.room = window - spec.chunk
        self.capacity = self.room + memory
        self.rope: Rope | None = None
        if positions == "absolute" and spec.grid is not None:
            wide = at_least_float32(spec.dtype)
            self.rope = Rope(head_radians(spec.layout.shapes[0][-1]), spec.grid, wide, spec.device)
        self.leaving: dict[int, dict[int, Entries]] = {}  # evicted frames of the source layers
        self.due = False  # whether frames were evicted since the last update
        self.queries: list[Tensor] = []  # of each group, [B, M, D]; empty before the first update
        self.memories: list[Entries] = []  # keys and values of `queries`

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        if self.stale(at.pass_index):
            self.update()
        kept = self.kept[layer]
        ids, frames = list(kept), list(kept.values())
        sink, local = ids[: self.sink], ids[self.sink :]
        newest = at.start + at.frames - 1
        start = (newest if self.positions == "absolute" else min(newest, self.reach - 1)) - at.frames + 1
        first = start - len(local)
        # A pass over many frames, as at a prompt switch, recomputes frames whose old versions are in the memory.
        shown = [self.memories[self.group(layer)]] if self.memories and self.sees_memory(at.frames) else []
        behind = range(first - self.memory, first) if shown else ()
        places = [*(sink if self.positions == "absolute" else range(len(sink))), *behind, *range(first, start)]
        return Context((*frames[: self.sink], *shown, *frames[self.sink :]), places, start)

    def sees_memory(self, frames: int) -> bool:
        """Return whether a pass over this many frames attends to the memory."""
        return frames <= self.spec.chunk or self.memory_recache

    def stale(self, pass_index: int) -> bool:
        return pass_index > 0 and self.due

    def begin_commit(self, at: At) -> None:
        if not self.due:
            return
        if at.frames <= self.spec.chunk:
            # The chunk had no denoising pass in which the update could be made.
            self.update()
        else:
            # The replay recomputes the evicted frames and evicts them again.
            self.due, self.leaving = False, {}

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        super().remember(layer, entries, query, at)
        if layer == self.spec.layers - 1 and self.due and self.updates == "clean":
            self.update()

    def trim(self, layer: int) -> None:
        kept = self.kept[layer]
        ids = list(kept)[self.sink : self.sink + max(0, len(kept) - self.room)]
        gone = dict(zip(ids, self.drop(layer, ids), strict=True))
        if gone and self.memory:
            self.due = True
            if layer in self.sources and self.updates != "never":
                self.leaving[layer] = gone

    def update(self) -> None:
        """Update the queries with the evicted frames, then drop these frames."""
        if self.updates != "never":
            self.queries = [
                encoder.updated(queries, *self.evicted(source), gated=self.gate, residual=self.residual)
                for encoder, queries, source in zip(self.encoders, self.current(), self.sources, strict=True)
            ]
        self.due, self.leaving = False, {}
        self.read()

    def detach(self) -> None:
        """Detach the queries, so that no gradient flows further back."""
        self.queries = [queries.detach() for queries in self.queries]
        if self.memories:
            self.read()

    def evicted(self, source: int) -> tuple[Tensor, Tensor]:
        """Return keys and values [B, N, heads, channels] of a layer's evicted frames as they were attended to: rotated
        with absolute positions, else un-rotated."""
        leaving = self.leaving[source]
        parts = [self.kept[source][frame] for frame in list(self.kept[source])[: self.sink * self.sink_anchor]]
        keys, values = (x.flatten(1, 2) for x in Entries.cat([*parts, *leaving.values()]).tensors)
        if self.positions == "absolute":
            assert self.rope is not None
            keys = rotate(keys, self.rope.frames([*list(self.kept[source])[: len(parts)], *leaving]))
        return keys, values

    def current(self) -> list[Tensor]:
        """Return the current queries of each group: the initial ones before the first update."""
        return self.queries or [encoder.start(self.spec.batch) for encoder in self.encoders]

    def read(self) -> None:
        """Make keys and values of the memory from the queries."""
        self.memories = [
            Entries(*encoder.read(queries)) for encoder, queries in zip(self.encoders, self.current(), strict=True)
        ]

    def group(self, layer: int) -> int:
        """Return the group of a layer."""
        return layer * len(self.sources) // self.spec.layers

    def held(self, layer: int) -> Mapping[int, Entries]:
        return {**self.leaving.get(layer, {}), **self.kept[layer]}

    def stored(self) -> Iterable[Tensor]:
        leaving = [x for frames in self.leaving.values() for entries in frames.values() for x in entries.stored]
        memories = [x for entries in self.memories for x in entries.tensors]
        return [*super().stored(), *leaving, *self.queries, *memories]

    def state_dict(self) -> dict[str, Any]:
        leaving = {
            source: {frame: entries.state() for frame, entries in frames.items()}
            for source, frames in self.leaving.items()
        }
        more = {"due": self.due, "leaving": leaving, "queries": self.queries, "begun": bool(self.memories)}
        return super().state_dict() | more

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.leaving = {
            source: {frame: restored(each, self.spec.packing) for frame, each in frames.items()}
            for source, frames in state["leaving"].items()
        }
        self.due, self.queries = state["due"], list(state["queries"])
        if state["begun"]:
            with torch.no_grad():
                self.read()
