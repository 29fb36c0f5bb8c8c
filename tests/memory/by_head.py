"""A small memory that differs by head: each head has a window of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from harness.memory import At, Context, Entries, GroupedContext, Heads, Memory, MemorySpec, Strategy
from harness.memory.heads import HeadFrames, HeldByHeads


@dataclass(frozen=True, kw_only=True)
class WindowOfHead(Strategy):
    """The latest frames, as many as each head of a layer is given.

    windows: frames beside the chunk by head, the same ones in all rows; of a row more, one frame more each. A head with
    0 sees nothing but the chunk.
    """

    paper = "https://example.org"

    windows: tuple[int, ...] = (6, 3)
    more: int = 0

    def open(self, spec: MemorySpec) -> Memory:
        return _Windows(spec, self)

    def lengths(self, spec: MemorySpec) -> dict[int, int]:
        """Frames of each head of each row."""
        of = len(self.windows)
        return {
            row * of + head: n + row * self.more for row in range(spec.batch) for head, n in enumerate(self.windows)
        }

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        one = spec.bytes(spec.frame_tokens) // spec.batch // len(self.windows)
        return sum(one * min(frames, length) for length in self.lengths(spec).values())


class _Windows(Memory):
    def __init__(self, spec: MemorySpec, strategy: WindowOfHead) -> None:
        lengths = strategy.lengths(spec)
        self.lengths = sorted(set(lengths.values()))
        self.capacity = max(self.lengths)
        heads = [[number for number, n in lengths.items() if n == length] for length in self.lengths]
        of = len(strategy.windows)
        self.parts = [[HeadFrames(Heads(tuple(few), of)) for few in heads] for _ in range(spec.layers)]

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context | GroupedContext:
        return GroupedContext(tuple(part.group() for part in self.parts[layer]), at.start)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        for part, length in zip(self.parts[layer], self.lengths, strict=True):
            part.add(entries, at.start)
            part.keep_last(length)

    def held(self, layer: int) -> Mapping[int, Entries]:
        return {}

    def held_by_heads(self, layer: int) -> Sequence[HeldByHeads]:
        return [part.held() for part in self.parts[layer]]

    def stored(self) -> Iterable[Tensor]:
        return [x for parts in self.parts for part in parts for x in part.stored()]

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [[part.state_dict() for part in parts] for parts in self.parts]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.parts = [[HeadFrames.loaded(part) for part in parts] for parts in state["parts"]]
