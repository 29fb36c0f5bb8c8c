"""Moving averages of what leaves a window: their data type, and how frames are folded into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from harness.memory.entries import Entries
from harness.memory.terms import MemorySpec

Accumulator = Literal["float32", "cache"]
"""Data type of a moving average: float32 at least, or the data type of the cache, as released code has it."""


def accumulator_dtype(spec: MemorySpec, accumulator: Accumulator) -> torch.dtype:
    """Return the data type in which averages are accumulated.

    In bfloat16 an update of less than a part in 256 is rounded away, so "float32" is what the formulas of papers mean.

    Parameters
    ----------
    spec
        Whose data type the cache has.
    accumulator
        Which of the two.
    """
    return spec.dtype if accumulator == "cache" else torch.promote_types(spec.dtype, torch.float32)


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
