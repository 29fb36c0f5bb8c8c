"""Memories that do what another one does while something looks on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from harness.memory.entries import Entries
from harness.memory.seam import Memory
from harness.memory.strategy import Strategy
from harness.memory.terms import At, Context, PromptSwitch


class Watched(Memory):
    """A memory that does what another one does; subclasses look at it or disturb it."""

    def __init__(self, inner: Memory) -> None:
        self.inner = inner
        self.lookback, self.capacity = inner.lookback, inner.capacity

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        return self.inner.recall(layer, query, at)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        self.inner.remember(layer, entries, query, at)

    def forget(self, switch: PromptSwitch) -> None:
        self.inner.forget(switch)

    def stale(self, pass_index: int) -> bool:
        return self.inner.stale(pass_index)

    def held(self, layer: int) -> Mapping[int, Entries]:
        return self.inner.held(layer)

    def stored(self) -> Iterable[Tensor]:
        return self.inner.stored()

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state)


def watched(strategy: Strategy, watch: Callable[[Memory], Memory]) -> Strategy:
    """The same strategy, whose memories are handed to `watch` when they are opened."""
    twin = copy.copy(strategy)
    object.__setattr__(twin, "open", lambda spec: watch(strategy.open(spec)))
    return twin
