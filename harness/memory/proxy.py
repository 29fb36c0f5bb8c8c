"""Memories that do what another one does while something looks on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from harness.memory.entries import Entries
from harness.memory.heads import GroupedContext, HeldByHeads
from harness.memory.seam import Memory
from harness.memory.strategy import Strategy
from harness.memory.terms import At, Context, MemorySpec, PromptSwitch, Weights

if TYPE_CHECKING:
    from harness.backbone.presets import Backbone


class Watched(Memory):
    """A memory that does what another one does; subclasses look at it or disturb it."""

    def __init__(self, inner: Memory) -> None:
        self.inner = inner
        self.lookback, self.capacity = inner.lookback, inner.capacity

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context | GroupedContext:
        return self.inner.recall(layer, query, at)

    def begin_commit(self, at: At) -> None:
        self.inner.begin_commit(at)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        self.inner.remember(layer, entries, query, at)

    def forget(self, switch: PromptSwitch) -> None:
        self.inner.forget(switch)

    def see(self, latents: Tensor, at: At) -> None:
        self.inner.see(latents, at)

    def hear(self, prompt: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.inner.hear(prompt)

    def stale(self, pass_index: int) -> bool:
        return self.inner.stale(pass_index)

    @property
    def steady(self) -> Collection[int]:
        return self.inner.steady

    def held(self, layer: int) -> Mapping[int, Entries]:
        return self.inner.held(layer)

    def held_by_heads(self, layer: int) -> Sequence[HeldByHeads]:
        return self.inner.held_by_heads(layer)

    def stored(self) -> Iterable[Tensor]:
        return self.inner.stored()

    def archived(self) -> Mapping[str, Tensor]:
        return self.inner.archived()

    def load_archive(self, archive: Mapping[str, Tensor]) -> None:
        self.inner.load_archive(archive)

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state)


@dataclass(frozen=True, kw_only=True, repr=False)
class Wrapping(Strategy):
    """A strategy around another one: what it does not say itself, the other one says.

    Sizes and positions are asked for with the spec in which this strategy keeps frames (`cached`).
    """

    @property
    @abstractmethod
    def wrapped(self) -> Strategy:
        """The other strategy."""

    def __repr__(self) -> str:
        """Return the recorded form, with strategies in knobs as text; saved states are found by it."""
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in self.knobs().items())})"

    @property
    def reads_query(self) -> bool:  # type: ignore[override]  # the other strategy's, not the class's
        return self.wrapped.reads_query

    @property
    def by_heads(self) -> bool:  # type: ignore[override]  # the other strategy's, not the class's
        return self.wrapped.by_heads

    @property
    def reads_commit_query(self) -> bool:  # type: ignore[override]  # the other strategy's, not the class's
        return self.wrapped.reads_commit_query

    @property
    def footprint_is_most(self) -> bool:  # type: ignore[override]  # the other strategy's, not the class's
        return self.wrapped.footprint_is_most

    @property
    def bounded(self) -> bool:  # type: ignore[override]  # the other strategy's, not the class's
        return self.wrapped.bounded

    @property
    def starts_as_full(self) -> bool:
        return self.wrapped.starts_as_full

    @property
    def switch_note(self) -> str:
        return self.wrapped.switch_note

    @property
    def kept_sink(self) -> int:
        return self.wrapped.kept_sink

    def adapt(self, backbone: Backbone) -> Backbone:
        return self.wrapped.adapt(backbone)

    def weights(self, backbone: Backbone) -> Weights | None:
        return self.wrapped.weights(backbone)

    def cached(self, spec: MemorySpec) -> MemorySpec:
        return self.wrapped.cached(spec)

    def open(self, spec: MemorySpec) -> Memory:
        return self.wrapped.open(self.cached(spec))

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        return self.wrapped.footprint(self.cached(spec), frames)

    def period(self, spec: MemorySpec) -> int:
        return self.wrapped.period(self.cached(spec))

    def archive_bytes(self, spec: MemorySpec, frames: int) -> int:
        return self.wrapped.archive_bytes(self.cached(spec), frames)

    def scene_bytes(self, spec: MemorySpec) -> int:
        return self.wrapped.scene_bytes(self.cached(spec))

    def position_limit(self, spec: MemorySpec) -> int | None:
        return self.wrapped.position_limit(self.cached(spec))


@dataclass(frozen=True, kw_only=True, repr=False)
class WatchedStrategy(Wrapping):
    """A strategy that is what another one is, with an eye on its memories.

    Parameters
    ----------
    inner
        The strategy.
    watch
        Is handed each memory when it is opened, and returns what stands in its place.
    """

    inner: Strategy
    watch: Callable[[Memory], Memory]

    def __post_init__(self) -> None:
        """Check nothing: the knobs are the other strategy's, and were checked when it was made."""

    def __repr__(self) -> str:
        return repr(self.inner)

    @property
    def wrapped(self) -> Strategy:
        return self.inner

    @property
    def paper(self) -> str:  # type: ignore[override]  # the other strategy's, not the class's
        return self.inner.paper

    def open(self, spec: MemorySpec) -> Memory:
        return self.watch(super().open(spec))

    def parts(self) -> Mapping[str, Strategy]:
        return self.inner.parts()

    def knobs(self) -> dict[str, Any]:
        return self.inner.knobs()


def watched(strategy: Strategy, watch: Callable[[Memory], Memory]) -> Strategy:
    """Return the same strategy, whose memories are handed to `watch` when they are opened."""
    return WatchedStrategy(inner=strategy, watch=watch)
