"""Moving averages of what leaves a window: the memory that holds them, their data type, and how frames enter them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from harness.memory.entries import Entries, at_least_float32
from harness.memory.frames import FrameCache
from harness.memory.packed import restored
from harness.memory.terms import MemorySpec

Accumulator = Literal["float32", "cache"]
"""In what a moving average is kept: float32 at least, or the form of the cache, as released code has it."""


def accumulator_dtype(spec: MemorySpec, accumulator: Accumulator) -> torch.dtype:
    """Return the data type in which averages are accumulated.

    In bfloat16 an update of less than a part in 256 is rounded away, so "float32" is what the formulas of papers mean.

    Parameters
    ----------
    spec
        Spec whose data type the cache has.
    accumulator
        Which of the two.
    """
    return spec.dtype if accumulator == "cache" else at_least_float32(spec.dtype)


def average_bytes(spec: MemorySpec, tokens: int, accumulator: Accumulator) -> int:
    """Return the bytes of averages of so many tokens of every row in all layers: those of the cache, or in float32."""
    return spec.bytes(tokens, None if accumulator == "cache" else accumulator_dtype(spec, accumulator))


def folded(averages: Sequence[Entries], leaving: Entries, share: float, first: int = 0) -> list[Entries]:
    """Return averages of single frames after the frames that leave were mixed into them, one into each in turn.

    Parameters
    ----------
    averages
        Entries of one frame each, in the data type of the accumulator.
    leaving
        The frames that leave, oldest first.
    share
        Weight of a frame that leaves; the average keeps the rest.
    first
        The average into which the first frame goes, modulo their number.
    """
    made = list(averages)
    for frame in range(leaving.frames):
        place = (first + frame) % len(made)
        made[place] = made[place].mix(as_type(leaving[frame : frame + 1], made[place].tensors[0].dtype), share)
    return made


def as_type(entries: Entries, dtype: torch.dtype) -> Entries:
    """Return entries in another data type."""
    return entries.map(lambda x: x.to(dtype))


class AveragingCache(FrameCache):
    """A window of frames, and averages beside it.

    Parameters
    ----------
    accumulator : Accumulator
        In what the averages are kept.

    Attributes
    ----------
    averages : list of list of Entries
        The averages of each layer, entries of one frame each; no averages at first. Subclasses fill them in `trim`.
    """

    def __init__(self, spec: MemorySpec, *, window: int, sink: int, accumulator: Accumulator) -> None:
        super().__init__(spec, window=window, sink=sink, positions="relative")
        self.accumulator = accumulator
        self.averages: list[list[Entries]] = [[] for _ in range(spec.layers)]

    def as_kept(self, averages: Sequence[Entries]) -> list[Entries]:
        """Return averages in the form in which they are kept."""
        packs = self.accumulator == "cache" and self.spec.store is not None
        return [self.spec.packed(average) for average in averages] if packs else list(averages)

    def stored(self) -> Iterable[Tensor]:
        averages = [x for layer in self.averages for entries in layer for x in entries.stored]
        return [*super().stored(), *averages]

    def state_dict(self) -> dict[str, Any]:
        averages = [[entries.state() for entries in layer] for layer in self.averages]
        return super().state_dict() | {"averages": averages}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        packing = self.spec.packing
        self.averages = [[restored(each, packing) for each in layer] for layer in state["averages"]]
