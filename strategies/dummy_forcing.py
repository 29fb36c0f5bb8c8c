"""Dummy Forcing: heads that look at the first frame, heads that look at the latest ones, and heads that need neither.

Paper: Dummy Forcing, arXiv:2601.20499; the released code at commit 28128ed.
Up to the chunk number `start` every head sees the sink and the latest `context` chunks. The commit pass of that chunk
measures for each head the attention to the first frame, to the frames between, and to the chunk itself. The first two
are divided by their sums over all heads of all layers; the `dummies` heads whose larger share is smallest are dummies;
the others are first or mid heads, by which share is larger. From then on first heads see the sink, mid heads the latest
`context` chunks, dummies the last frame, and all of them the chunk. Keys stand at absolute ids.

Paper and released code differ; defaults follow the code. Paper: dummies attend to the chunk alone, and are a quarter of
all heads. Released: they keep one frame and are half of all, 180 of 360. With `start` above 1 the code counts as first
the oldest frames that it sees, as many as a chunk has.

Deviations: the released code draws query rows by a generator that is not seeded; `rows="sampled"` draws the same ones
in every video, by the paired noise; the default is all. It decides by the first row of a batch; here each row does.
A prompt switch before the decision is an error there; here memory is replayed and decides at `start`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from harness.errors import KnobError
from harness.memory import At, Context, Entries, GroupedContext, Heads, Memory, MemorySpec, PromptSwitch, Strategy
from harness.memory.budget import Part, apportion
from harness.memory.frames import FrameCache
from harness.memory.heads import HeadFrames, HeldByHeads, attention_shares
from harness.rollout.noise import PairedNoise

FIRST, MID, DUMMY = range(3)
REPLAYED = 12
"""Latent frames that the released code replays at a prompt switch."""


@dataclass(frozen=True, kw_only=True)
class DummyForcing(Strategy):
    """The first frame for some heads, the latest chunks for others, and the last frame for the dummies.

    dummies: heads of all layers that see the last frame only; none: half of all, as released. context: latest chunks
    that mid heads see. start: number of the chunk, from 0, whose commit pass decides. rows: query tokens that decide,
    "all" or "sampled". sink: first latent frames, which first heads see.
    on_switch: at a prompt switch "recache" (replay the last 12 frames, of which the first become the sink) or "keep".
    """

    paper = "https://arxiv.org/abs/2601.20499"
    by_heads = True
    reads_commit_query = True
    footprint_is_most = True

    dummies: Annotated[int, Ge(0)] | None = None
    context: Annotated[int, Ge(1)] = 1
    start: Annotated[int, Ge(1)] = 1
    rows: Literal["all", "sampled"] = "all"
    sink: Annotated[int, Ge(1)] = 1
    on_switch: Literal["recache", "keep"] = "recache"

    def open(self, spec: MemorySpec) -> Memory:
        self.dummies_of(spec)
        if spec.grid is None:
            raise KnobError("dummy_forcing scores rotated keys, for which it needs the grid of a frame's tokens")
        return _ByClass(spec, self)

    def dummies_of(self, spec: MemorySpec) -> int:
        """Return the number of dummies among the heads of all layers."""
        heads, _ = spec.layout.one_head()
        every = heads * spec.layers
        if (self.dummies or 0) > every:
            raise KnobError(f"dummy_forcing: {self.dummies} dummies of {every} heads; use 0 to {every}")
        return every // 2 if self.dummies is None else self.dummies

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        """Return the bytes, as if all heads but the dummies were those that keep most."""
        sink = min(frames, self.sink)
        latest = min(frames - sink, self.context * spec.chunk)
        if -(-frames // spec.chunk) <= self.start:
            return spec.bytes((sink + latest) * spec.frame_tokens)
        heads, _ = spec.layout.one_head()
        dummies = self.dummies_of(spec)
        kept = dummies + (heads * spec.layers - dummies) * max(sink, latest)
        return spec.bytes(kept * spec.frame_tokens) // (heads * spec.layers)

    def resized(self, spec: MemorySpec, frames: int) -> DummyForcing:
        parts = {
            "sink": Part(self.sink, least=self.sink, most=self.sink),
            "latest": Part(self.context * spec.chunk, least=spec.chunk, step=spec.chunk),
        }
        return replace(self, context=apportion(frames, parts)["latest"] // spec.chunk)


class _ByClass(FrameCache):
    """A window behind a sink until classes are decided; then frames by class.

    classes: of the heads of each row and layer, [B, layers, heads]; empty before. parts: of each layer, frames by
    class. shares: attention of the commit pass that decides, of each layer up to here.
    """

    def __init__(self, spec: MemorySpec, knobs: DummyForcing) -> None:
        self.latest = knobs.context * spec.chunk
        super().__init__(spec, window=knobs.sink + self.latest + spec.chunk, sink=knobs.sink)
        self.knobs, self.dummies = knobs, knobs.dummies_of(spec)
        self.lookback = REPLAYED if knobs.on_switch == "recache" else 0
        self.classes: list[list[list[int]]] = []
        self.parts: list[dict[int, HeadFrames]] = []
        self.shares: list[Tensor] = []
        self.replaying = False

    def number(self, start: int) -> int:
        """Return the number of the chunk that starts at a frame; the first one may be shorter."""
        return -(-start // self.spec.chunk)

    @property
    def steady(self) -> Collection[int]:
        return ()  # too few chunks for a graph of their own come before heads differ

    def recall(  # type: ignore[override]  # by head, once classes are decided
        self, layer: int, query: Tensor | None, at: At
    ) -> Context | GroupedContext:
        if self.replaying:
            return Context((), (), at.start)
        if not self.parts:
            return super().recall(layer, query, at)
        return GroupedContext(tuple(part.group() for part in self.parts[layer].values()), at.start)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        if self.parts:
            self.renew(self.parts[layer], entries, at)
            return
        if self.number(at.start) == self.knobs.start and not self.replaying:
            assert query is not None
            self.shares.append(self.measured(layer, entries, query, at))
        super().remember(layer, entries, query, at)

    def renew(self, parts: Mapping[int, HeadFrames], entries: Entries, at: At) -> None:
        """Take in a chunk, or what was replayed."""
        frames = range(at.frames)
        # The released code trims what was replayed early only with the next chunk.
        late = not self.replaying or self.number(at.start) >= self.knobs.context
        taken = {
            FIRST: frames[: self.sink] if self.replaying else frames[:0],
            MID: frames[-self.latest :] if late else frames[self.sink :],
            DUMMY: frames[-1:],
        }
        for kind, part in parts.items():
            part.add(entries[taken[kind].start : taken[kind].stop], at.start + taken[kind].start)
            if not self.replaying and kind != FIRST:
                part.keep_last(self.latest if kind == MID else 1)

    def measured(self, layer: int, entries: Entries, query: Tensor, at: At) -> Tensor:
        """Return the mean attention of the chosen query rows to first frames, frames between, and the chunk.

        The result is [B, 3, heads].
        """
        kept = self.kept[layer]
        whole = Entries.cat([*kept.values(), entries])
        first = min(self.sink if self.knobs.start == 1 else self.spec.chunk, len(kept))
        parts = (first, len(kept) - first, at.frames)
        ids = [*kept, *range(at.start, at.start + at.frames)]
        return attention_shares(self.spec, whole, ids, query, parts, self.rows(layer, query.shape[1]))

    def rows(self, layer: int, tokens: int) -> Tensor | None:
        """Return the query tokens of a chunk of `tokens` that decide: None for all; or as many as a third of those that
        count as first, drawn with replacement."""
        if self.knobs.rows == "all":
            return None
        counted = self.spec.frame_tokens * (1 if self.knobs.start == 1 else self.spec.chunk)
        drawn = PairedNoise([(layer, "dummy_forcing")]).initial(0, torch.Size((1, max(1, counted // 3))))
        return (torch.special.ndtr(drawn[0].double()) * tokens).long().clamp(max=tokens - 1).to(self.spec.device)

    def see(self, latents: Tensor, at: At) -> None:
        if not self.shares:
            return
        self.classes = decided(torch.stack(self.shares, 1), self.dummies)
        self.shares = []
        heads, _ = self.spec.layout.one_head()
        for layer, kept in enumerate(self.kept):
            kinds = [kind for row in self.classes for kind in row[layer]]
            ids, parts = list(kept), dict[int, HeadFrames]()
            for kind, frames in ((FIRST, ids[: self.sink]), (MID, ids[self.sink :]), (DUMMY, ids[-1:])):
                numbers = tuple(number for number, found in enumerate(kinds) if found == kind)
                if numbers:
                    parts[kind] = HeadFrames(Heads(numbers, heads))
                    for frame in frames:
                        parts[kind].add(kept[frame], frame)
            self.parts.append(parts)
            kept.clear()

    def forget(self, switch: PromptSwitch) -> None:
        if not self.lookback:
            return
        for frames in (*self.kept, *(part.kept for parts in self.parts for part in parts.values())):
            frames.clear()
        again, self.replaying = min(REPLAYED, switch.start), True
        switch.replay(switch.latents[:, switch.latents.shape[1] - again :], switch.start - again)
        self.replaying = False

    def held_by_heads(self, layer: int) -> Sequence[HeldByHeads]:
        return [part.held() for part in self.parts[layer].values()] if self.parts else ()

    def stored(self) -> Iterable[Tensor]:
        parts = [x for parts in self.parts for part in parts.values() for x in part.stored()]
        return [*super().stored(), *parts, *self.shares]

    def state_dict(self) -> dict[str, Any]:
        parts = [{kind: part.state_dict() for kind, part in parts.items()} for parts in self.parts]
        return super().state_dict() | {"classes": self.classes, "parts": parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.classes = state["classes"]
        self.parts = [
            {kind: HeadFrames.loaded(part, self.spec.packing) for kind, part in parts.items()}
            for parts in state["parts"]
        ]


def decided(shares: Tensor, dummies: int) -> list[list[list[int]]]:
    """Return the classes of heads, [B, layers, heads], by their attention [B, layers, 3, heads].

    Where there are shapes only, dummies are spread evenly and all others are mid heads, which keep most.
    """
    rows, layers, _, heads = shares.shape
    every = layers * heads
    if shares.is_meta:
        kinds = [DUMMY if n * dummies // every != (n + 1) * dummies // every else MID for n in range(every)]
        return [[kinds[layer * heads : (layer + 1) * heads] for layer in range(layers)] for _ in range(rows)]
    tiny = torch.finfo(shares.dtype).tiny
    first, mid = (x / x.sum((1, 2), keepdim=True).clamp(min=tiny) for x in (shares[:, :, FIRST], shares[:, :, MID]))
    classes = torch.where(first < mid, MID, FIRST).flatten(1)
    least = torch.maximum(first, mid).flatten(1).argsort(dim=1, stable=True)[:, :dummies]
    return classes.scatter(1, least, DUMMY).view(rows, layers, heads).tolist()
