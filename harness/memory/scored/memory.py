"""The memory of sink frames, chosen tokens and recent frames.

Shapes: B batch rows, S tokens of a latent frame, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from harness.errors import KnobError
from harness.memory.entries import Entries, at_least_float32
from harness.memory.scored.choice import choose, take
from harness.memory.scored.layer import ScoredLayer
from harness.memory.scored.tokens import Tokens
from harness.memory.seam import Memory
from harness.memory.terms import At, Context, MemorySpec

Places = Literal["slot", "original"]
"""Temporal ids of chosen tokens: of their slot in the cache, or of the frame that they come from."""


@dataclass(frozen=True)
class Parts:
    """Parts of a scored memory's context, in latent frames: sink, chosen tokens, recent frames beside the chunk."""

    sink: int
    chosen: int
    recent: int


def scored_bytes(
    spec: MemorySpec, whole: int, chosen: int, *, counts: bool, accumulates: bool = False, queries: int = 0
) -> int:
    """Return the bytes that a `ScoredMemory` holds.

    Parameters
    ----------
    spec: that it was opened for.
    whole, chosen, queries: whole frames, frames of chosen tokens, and frames whose queries are kept.
    counts: whether reuse is limited. accumulates: whether scores are accumulated.
    """
    wide = at_least_float32(spec.dtype).itemsize * accumulates
    each = chosen * (torch.int64.itemsize + counts + wide) + whole * wide
    # A query has the shape of a key.
    each += queries * torch.Size(spec.layout.shapes[0]).numel() * spec.dtype.itemsize
    return spec.bytes((whole + chosen) * spec.frame_tokens) + spec.layers * spec.batch * spec.frame_tokens * each


class ScoredMemory(Memory):
    """Sink frames, chosen tokens and recent frames; until they exceed the capacity, all frames as they are.

    When a commit makes them exceed it, the tokens with the highest scores stay, of those that were chosen before and
    those of the frames between sink and recent ones; the others are gone. No frame has a quota, and rows choose for
    themselves. A token keeps its row and column.

    Parameters
    ----------
    parts, capacity: in latent frames.
    scores: of tokens; all layers and rows are scored alike.
    positions: temporal ids of chosen tokens: of their "slot", as all others then have, or their "original" ones.
    max_reuse: how often a token may be chosen; None for no limit.
    accumulates: score all tokens at every commit, and hand back the scores of the time before.
    queries: of how many last frames the queries of the commit pass are kept, for those that choose in `recall`.
    """

    capacity: int

    def __init__(
        self,
        spec: MemorySpec,
        parts: Parts,
        capacity: int,
        scores: Callable[[Tokens], Tensor],
        *,
        positions: Places,
        max_reuse: int | None = None,
        accumulates: bool = False,
        queries: int = 0,
    ) -> None:
        if spec.grid is None:
            raise KnobError("a memory of chosen tokens needs to know the rows and columns of a frame's tokens")
        self.spec, self.parts, self.capacity, self.columns = spec, parts, capacity, spec.grid[1]
        self.scores, self.positions, self.max_reuse = scores, positions, max_reuse
        self.accumulates, self.queries = accumulates, queries
        self.layers = [ScoredLayer() for _ in range(spec.layers)]

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        own = self.layers[layer]
        times, start = self.times(own, at.start)
        whole = tuple(own.frames.values())
        slots = whole if own.chosen is None else (*whole[: self.parts.sink], own.chosen, *whole[self.parts.sink :])
        return Context(slots, times if own.chosen is None else self.places(own, times, self.positions), start)

    def times(self, own: ScoredLayer, start: int) -> tuple[list[int], int]:
        """Return the temporal id of each frame of the context, and of the first frame of the chunk at `start`.

        Ids of chosen tokens count where their position is that of a slot.
        """
        if self.positions == "slot":
            return list(range(own.total)), own.total
        return self.ids(own), start

    def ids(self, own: ScoredLayer) -> list[int]:
        """Return the id of each frame of the context, 0 for frames of chosen tokens."""
        whole = list(own.frames)
        return [*whole[: self.parts.sink], *[0] * own.chosen_frames, *whole[self.parts.sink :]]

    def places(self, own: ScoredLayer, times: Sequence[int], positions: Places) -> Tensor:
        """Return (time, row, column) of all tokens in the order of the context, [B or 1, N, 3]."""
        tokens, device = self.spec.frame_tokens, self.spec.device
        time = torch.tensor(times, dtype=torch.int64).to(device, non_blocking=True)
        place = torch.arange(tokens, device=device).repeat(len(times)).view(1, len(times), tokens)
        time = time[None, :, None].expand_as(place)
        if own.ids is not None:
            ids, here = own.ids.unflatten(1, (-1, tokens)), self.parts.sink
            place, time = (x.expand(len(ids), -1, -1).clone() for x in (place, time))
            place[:, here : here + ids.shape[1]] = ids % tokens
            if positions == "original":
                time[:, here : here + ids.shape[1]] = ids // tokens
        return torch.stack((time, place // self.columns, place % self.columns), -1).flatten(1, 2)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        own, tokens = self.layers[layer], self.spec.frame_tokens
        self.add(own, entries, query, at)
        over = own.total > self.capacity
        if not over and not self.accumulates:
            return
        times, _ = self.times(own, at.start + at.frames)
        places = self.places(own, times, self.positions)
        span = slice(self.parts.sink, own.total - self.parts.recent)
        seen = slice(0, own.total) if self.accumulates else span
        looked_at = Tokens(
            self.spec.layout,
            own.singles(self.parts.sink)[seen],
            places[:, seen.start * tokens : seen.stop * tokens],
            query,
            places[:1, (own.total - at.frames) * tokens :],
            self._running(own) if self.accumulates else 0.0,
        )
        scores = self.scores(looked_at)
        if self.accumulates:
            self._run(own, scores)
            scores = scores[:, span.start * tokens : span.stop * tokens]
        if over:
            self.compress(own, scores)

    def add(self, own: ScoredLayer, entries: Entries, query: Tensor | None, at: At) -> None:
        """Keep the frames of a commit pass, and the queries of the last ones."""
        for frame in range(at.frames):
            own.frames[at.start + frame] = entries[frame : frame + 1].copy()
        if self.queries and query is not None:
            own.queries = own.asked(query)[:, -self.queries * self.spec.frame_tokens :].clone()

    def compress(self, own: ScoredLayer, scores: Tensor | None) -> None:
        """Keep the best of the tokens between sink and recent frames, [B, N]; None where there is room for none."""
        tokens, sink, count = self.spec.frame_tokens, self.parts.sink, self.parts.chosen
        leaving = list(own.frames)[sink : len(own.frames) - self.parts.recent]
        if scores is not None:
            frames = own.singles(sink)[sink : own.total - self.parts.recent]
            fresh = [torch.arange(frame * tokens, (frame + 1) * tokens, device=scores.device) for frame in leaving]
            ids = torch.cat(fresh).expand(len(scores), -1)
            ids = ids if own.ids is None else torch.cat((own.ids, ids), 1)
            uses = None
            if self.max_reuse is not None:
                uses = torch.zeros_like(ids, dtype=torch.uint8)
                if own.uses is not None:
                    uses[:, : own.uses.shape[1]] = own.uses
                scores = scores.masked_fill(uses >= self.max_reuse, -torch.inf)
            places, there = choose(scores, count * tokens)
            exact = [frame.tensors for frame in frames]

            def kept(x: Tensor, more: int = 0) -> Tensor:
                return torch.where(there, x.gather(1, places) + more, x[:, : count * tokens])

            def gathered(part: int) -> Tensor:
                each = [tensors[part] for tensors in exact]
                old = torch.cat(each[:count], 1)
                return take(each, old.flatten(1, 2), places, there).view(old.shape)

            if self.accumulates:
                running = self._running(own)[:, sink * tokens : (own.total - self.parts.recent) * tokens]
                own.chosen_running = kept(running)
            own.chosen = self.spec.packed(Entries(*map(gathered, range(len(exact[0])))))
            own.ids, own.uses = kept(ids), None if uses is None else kept(uses, 1)
        for frame in leaving:
            del own.frames[frame]
            own.running.pop(frame, None)

    def _running(self, own: ScoredLayer) -> Tensor:
        """Return the accumulated scores of all tokens in the order of the context, [B, N]; 0 for new ones."""
        spec = self.spec
        wide = at_least_float32(spec.dtype)
        new = torch.zeros(spec.batch, spec.frame_tokens, dtype=wide, device=spec.device)
        whole = [own.running.get(frame, new) for frame in own.frames]
        packed = [] if own.chosen_running is None else [own.chosen_running]
        return torch.cat([*whole[: self.parts.sink], *packed, *whole[self.parts.sink :]], 1)

    def _run(self, own: ScoredLayer, scores: Tensor) -> None:
        """Keep accumulated scores."""
        each = list(scores.split(self.spec.frame_tokens, 1))
        here = slice(self.parts.sink, self.parts.sink + own.chosen_frames)
        if own.chosen is not None:
            own.chosen_running = torch.cat(each[here], 1)
        del each[here]
        own.running = {frame: x.clone() for frame, x in zip(own.frames, each, strict=True)}

    def held(self, layer: int) -> Mapping[int, Entries]:
        return self.layers[layer].frames

    def stored(self) -> Iterable[Tensor]:
        return [x for own in self.layers for x in own.stored()]

    def state_dict(self) -> dict[str, Any]:
        return {"layers": [own.state_dict() for own in self.layers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.layers = [ScoredLayer.of(each, self.spec.packing) for each in state["layers"]]
