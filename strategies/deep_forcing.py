"""Deep Forcing: a deep sink that moves along, tokens that recent queries ask for, and recent frames.

Paper: Deep Forcing, arXiv:2512.05081; the released code at commit ea9961a.
Keeps the first `sink` frames for good. A chunk that would overflow the window first compresses: beside the sink and the
last `recent` frames (the chunk among them) it keeps, of all other tokens, those whose rotated keys have the largest
products with the rotated queries of these recent frames, summed over heads and queries (or the largest of them). It
keeps `budget` frames in all; chunks are appended until the window overflows again. Queries are those of the clean pass
of frames before the chunk, and of the chunk's own first, noisy pass. No softmax, no quota a frame, all heads together.

Paper and released code differ; defaults follow the code. Released: chosen tokens stay where they were made, and the
sink is moved so that it ends some frames before the recent ones, at compressing chunks only. Paper
(`positions="contiguous"`): sink, chosen tokens and recent frames have the slots right before the chunk. The sink's
first move has the window and budget of the release written into it, which is followed. Without compression ("Deep
Sink") the latest frames fill the window; the release then has a sink of 14. Its per-video state is not reset in a
second video of one process; here it is. Prompt switches do not exist there; here the memory is kept.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from harness.errors import KnobError
from harness.memory import At, Context, Entries, Memory, MemorySpec, Strategy
from harness.memory.budget import Part, apportion
from harness.memory.frames import FrameCache, Positions, check_whole_chunks, check_window, window_bytes
from harness.memory.scored import MaxReuse, Parts, Places, ScoredLayer, ScoredMemory, Tokens
from harness.memory.scored.choice import check_queries_meet_keys, check_reuse
from harness.memory.scored.memory import scored_bytes

Fusion = Literal["sum", "max"]
RELEASED_WINDOW = 21
MOST_RECENT = 6
"""Recent frames beyond which the released code scores by queries of the noisy passes of the chunk before."""


@dataclass(frozen=True, kw_only=True)
class DeepForcing(Strategy):
    """A deep sink, chosen tokens and recent frames.

    window: latent frames in all, current chunk included; a multiple of the chunk. sink: latent frames that never leave.
    budget: latent frames that a compression leaves, current chunk included. recent: the last latent frames, current
    chunk included, which are kept whole and whose queries choose. fusion: products are summed over queries, or the
    largest counts. max_reuse: how often a token may be chosen; none for no limit.
    compression: without it budget, recent, fusion and max_reuse do nothing, and the latest frames fill the window.
    positions: "released" (frame ids, and a sink that moves) or "contiguous" (slots).
    """

    paper = "https://arxiv.org/abs/2512.05081"

    window: Annotated[int, Ge(1)] = RELEASED_WINDOW
    sink: Annotated[int, Ge(0)] = 10
    budget: Annotated[int, Ge(1)] = 16
    recent: Annotated[int, Ge(1)] = 4
    fusion: Fusion = "sum"
    max_reuse: MaxReuse = 7
    compression: bool = True
    positions: Literal["released", "contiguous"] = "released"

    @property
    def chosen(self) -> int:
        """Latent frames of chosen tokens."""
        return self.budget - self.sink - self.recent if self.compression else 0

    @property
    def reads_query(self) -> bool:  # type: ignore[override]  # decided by knobs
        return self.chosen > 0

    def queries(self, spec: MemorySpec) -> int:
        """Return the latent frames whose queries are kept until the next chunk."""
        return self.recent - spec.chunk if self.reads_query else 0

    def open(self, spec: MemorySpec) -> Memory:
        self._check(spec)
        return _Compressed(spec, self) if self.compression else _DeepSink(spec, self)

    def _check(self, spec: MemorySpec) -> None:
        chunk, window = spec.chunk, self.window
        check_window("deep_forcing", spec, window, self.sink)
        check_whole_chunks("deep_forcing", spec, window)
        if not self.compression:
            return
        most = max(MOST_RECENT, 2 * chunk)
        if not chunk <= self.recent <= most:
            raise KnobError(
                f"deep_forcing: recent {self.recent} does not fit a chunk of {chunk} latent frames, which it includes; "
                f"allowed: {chunk} to {most}"
            )
        if not self.sink + self.recent <= self.budget <= window:
            raise KnobError(
                f"deep_forcing: budget {self.budget} does not fit sink {self.sink} + recent {self.recent} and window "
                f"{window}; allowed: {self.sink + self.recent} to {window}"
            )
        check_reuse("deep_forcing", self.max_reuse, self.chosen, self.period(spec) * chunk)
        if self.chosen:
            check_queries_meet_keys(spec)

    def period(self, spec: MemorySpec) -> int:
        return (self.window - self.budget) // spec.chunk + 1 if self.compression else 1

    def overflows(self, chunk: int, start: int, period: int) -> tuple[int, int] | None:
        """Return where the first chunk that overflows the window starts, and the latest one up to that at `start`.

        None before the first. period: chunks from one to the next.
        """
        first = self.window - chunk + (start % chunk or chunk)
        return None if start < first else (first, start - (start - first) % (period * chunk))

    def moved(self, chunk: int, start: int, period: int) -> int:
        """Return the ids by which the released code has moved the sink when it makes the chunk at `start`."""
        found = self.overflows(chunk, start, period)
        if found is None:
            return 0
        first, latest = found
        # The release has its own window written into the first move.
        return latest - first + (RELEASED_WINDOW - self.budget if self.compression else 0)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        if not self.compression:
            return window_bytes(spec, self.window, frames)
        latest = frames - spec.chunk
        found = self.overflows(spec.chunk, latest, self.period(spec))
        held, chosen = (frames, 0) if found is None else (self.budget + latest - found[1], self.chosen)
        queries = min(frames, self.queries(spec))
        return scored_bytes(spec, held - chosen, chosen, counts=self.max_reuse is not None, queries=queries)

    def resized(self, spec: MemorySpec, frames: int) -> DeepForcing:
        chunk, behind = spec.chunk, self.recent - spec.chunk if self.compression else 0
        slack = self.window - (self.budget if self.compression else self.sink + chunk)
        parts = {
            "sink": Part(self.sink, least=min(1, self.sink), most=self.sink),
            "chosen": Part(self.chosen, least=min(1, self.chosen), most=None if self.chosen else 0),
            "recent": Part(behind, least=behind, most=behind),
            "appended": Part(slack, least=0, most=None if slack else 0),
        }
        sizes = apportion(frames // chunk * chunk, parts)
        window, budget = sum(sizes.values()) + chunk, sizes["sink"] + sizes["chosen"] + self.recent
        return replace(self, window=window, sink=sizes["sink"], budget=budget if self.compression else self.budget)

    def position_limit(self, spec: MemorySpec) -> int | None:
        return self.window if self.positions == "contiguous" else None


class _Compressed(ScoredMemory):
    """Chooses before the first pass of a chunk that would overflow the window, by that pass's queries too."""

    def __init__(self, spec: MemorySpec, knobs: DeepForcing) -> None:
        parts = Parts(knobs.sink, knobs.chosen, knobs.recent - spec.chunk)
        places: Places = "original" if knobs.positions == "released" else "slot"
        capacity, queries = knobs.window - spec.chunk, knobs.queries(spec)
        super().__init__(
            spec, parts, capacity, self._matches, positions=places, max_reuse=knobs.max_reuse, queries=queries
        )
        self.knobs, self.period = knobs, knobs.period(spec)

    @property
    def steady(self) -> Collection[int]:
        return range(self.knobs.budget - self.spec.chunk, self.capacity + 1, self.spec.chunk)

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        own = self.layers[layer]
        if own.total > self.capacity:
            self.compress(own, None if query is None else self.scores(self._tokens(own, query, at)))
        return super().recall(layer, query, at)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        self.add(self.layers[layer], entries, query, at)

    def times(self, own: ScoredLayer, start: int) -> tuple[list[int], int]:
        times, begin = super().times(own, start)
        if self.positions == "original":
            moved = self.knobs.moved(self.spec.chunk, start, self.period)
            times = [time + moved * (slot < self.parts.sink) for slot, time in enumerate(times)]
        return times, begin

    def _tokens(self, own: ScoredLayer, query: Tensor, at: At) -> Tokens:
        """Return the tokens that may leave, where they were made, and the queries that choose."""
        first, last, tokens = self.parts.sink, own.total - self.parts.recent, self.spec.frame_tokens
        places = self.places(own, [*self.ids(own), *range(at.start, at.start + at.frames)], "original")
        leaving, asked = places[:, first * tokens : last * tokens], places[:1, last * tokens :]
        return Tokens(self.spec.layout, own.singles(first)[first:last], leaving, own.asked(query), asked)

    def _matches(self, tokens: Tokens) -> Tensor:
        """Return products of keys and queries, summed over heads: their sum or the largest of them over queries."""
        queries = [piece.flatten(2) for piece in tokens.rotated_queries()]
        if self.knobs.fusion == "sum":
            queries = [torch.stack([piece.sum(1) for piece in queries]).sum(0)[:, None]]
        scores = []
        for keys in tokens.rotated_keys():
            products = [(piece @ keys.flatten(2).mT).amax(1) for piece in queries]
            scores.append(torch.stack(products).amax(0) / (keys.shape[2] * keys.shape[3] ** 0.5))
        return torch.cat(scores, 1)


class _DeepSink(FrameCache):
    """A window behind a sink that moves along with it, as far as it moved from the first eviction on."""

    def __init__(self, spec: MemorySpec, knobs: DeepForcing) -> None:
        positions: Positions = "absolute" if knobs.positions == "released" else "relative"
        super().__init__(spec, window=knobs.window, sink=knobs.sink, positions=positions)
        self.knobs = knobs

    def place(self, ids: list[int], at: At) -> tuple[list[int], int]:
        positions, start = super().place(ids, at)
        if self.positions == "absolute":
            moved = self.knobs.moved(self.spec.chunk, at.start, 1)
            positions = [id + moved * (id < self.sink) for id in positions]
        return positions, start
