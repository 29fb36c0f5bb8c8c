"""Entries in fewer bits: frames of a layout that are kept packed, and read as exact ones.

Shapes: B batch rows, S tokens of a latent frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from harness.errors import ResumeError
from harness.memory.entries import Entries
from harness.memory.packed.packing import Packing


class Run(NamedTuple):
    """Consecutive frames in one form: whether they are packed, and their tensors [B, frames, ...]."""

    packed: bool
    stored: tuple[Tensor, ...]

    def by_frame(self, function: Callable[[Tensor], Tensor]) -> Run:
        """Return the run with a function of each stored tensor."""
        return Run(self.packed, tuple(function(x) for x in self.stored))


class PackedEntries(Entries):
    """Entries of which all frames or some are packed.

    Slices, copies and `cat` keep them packed. Whoever reads `tensors`, maps or mixes gets exact numbers, unpacked anew
    each time; a policy that compares, scores or averages therefore needs not know of it.

    Parameters
    ----------
    packing
        How frames are packed.
    runs
        Frames in order.
    """

    __slots__ = ("packing", "runs")

    def __init__(self, packing: Packing, runs: Sequence[Run]) -> None:
        self.packing, self.runs = packing, tuple(runs)

    @property
    def tensors(self) -> tuple[Tensor, ...]:  # type: ignore[override]  # made when they are read
        """The unpacked tensors, [B, frames, S, ...]."""
        each = [self.packing.unpack(run.stored) if run.packed else run.stored for run in self.runs]
        return each[0] if len(each) == 1 else tuple(torch.cat(parts, 1) for parts in zip(*each, strict=True))

    @property
    def frames(self) -> int:
        return sum(run.stored[0].shape[1] for run in self.runs)

    @property
    def stored(self) -> tuple[Tensor, ...]:
        return tuple(x for run in self.runs for x in run.stored)

    def __getitem__(self, frames: slice) -> Entries:
        """Return a view of some consecutive frames; exact entries where none of these is packed."""
        first, last, step = frames.indices(self.frames)
        if step != 1:
            raise ValueError(f"packed frames are taken one after the other, not every {step}")
        found, begin = [], 0
        for run in self.runs:
            size = run.stored[0].shape[1]
            part = slice(max(0, first - begin), min(size, last - begin))
            begin += size
            if part.start < part.stop:
                found.append(Run(run.packed, tuple(x[:, part] for x in run.stored)))
        if not found:
            found = [self.runs[0].by_frame(lambda x: x[:, :0])]
        return _made(self.packing, found)

    def by_frame(self, function: Callable[[Tensor], Tensor]) -> Entries:
        """Return entries made of a function of each stored tensor; see `Entries.by_frame`.

        Raises
        ------
        ValueError
            For entries whose frames have different forms, of which none can be chosen by row.
        """
        if len(self.runs) > 1:
            raise ValueError("these frames are kept in different forms; take them one by one")
        return PackedEntries(self.packing, [run.by_frame(function) for run in self.runs])

    def copy(self) -> Entries:
        runs = [run.by_frame(lambda x: x.clone(memory_format=torch.contiguous_format)) for run in self.runs]
        return PackedEntries(self.packing, runs)

    def state(self) -> Any:
        return {"packing": str(self.packing), "runs": [[run.packed, list(run.stored)] for run in self.runs]}

    def joined(self, parts: Sequence[Entries]) -> Entries:
        # A plain loop, since compiled passes put frames together, too.
        groups: list[list[Run]] = []
        for part in parts:
            for run in _runs(part):
                if not groups or groups[-1][0].packed != run.packed:
                    groups.append([])
                groups[-1].append(run)
        return PackedEntries(self.packing, [_run_of(group) for group in groups])


def packed(entries: Entries, packing: Packing, exact: int = 0) -> Entries:
    """Return entries with all but their first frames packed.

    Parameters
    ----------
    entries
        Entries whose frames are packed, unless they are already packed.
    packing
        How.
    exact
        Frames that stay exact, the first ones, by reference.

    Returns
    -------
    Entries
        The same entries where all frames stay exact.
    """
    if exact >= entries.frames:
        return entries
    whole, rest = entries[: max(0, exact)], entries[max(0, exact) :]
    runs = [run if run.packed else Run(True, packing.pack(run.stored)) for run in _runs(rest)]
    return PackedEntries(packing, [*([Run(False, whole.tensors)] if exact > 0 else []), *runs])


def restored(state: Any, packing: Packing | None) -> Entries:
    """Return entries from their `state`.

    Parameters
    ----------
    state
        What `Entries.state` returned.
    packing
        How the memory that goes on packs its frames; None for one that does not.

    Raises
    ------
    ResumeError
        For frames that are packed in another way.
    """
    if not isinstance(state, Mapping):
        return Entries(*state)
    check_packing(state["packing"], packing)
    assert packing is not None
    return PackedEntries(packing, [Run(bool(is_packed), tuple(tensors)) for is_packed, tensors in state["runs"]])


def check_packing(theirs: Any, ours: Packing | None) -> None:
    """Raise ResumeError unless a state whose frames are packed as named `theirs` can be read."""
    if theirs != (None if ours is None else str(ours)):
        raise ResumeError(
            f"this state keeps its frames {_named(theirs)}, and this memory keeps them {_named(ours)}; go on with the "
            "strategy that wrote it"
        )


def _named(packing: Any) -> str:
    return "exact" if packing is None else f"as {packing}"


def _runs(entries: Entries) -> Sequence[Run]:
    return entries.runs if isinstance(entries, PackedEntries) else (Run(False, entries.tensors),)


def _run_of(runs: Sequence[Run]) -> Run:
    """Return one run of all frames of runs in the same form."""
    each = zip(*[run.stored for run in runs], strict=True)
    return Run(runs[0].packed, tuple(torch.cat(parts, 1) for parts in each))


def _made(packing: Packing, runs: Sequence[Run]) -> Entries:
    if len(runs) == 1 and not runs[0].packed:
        return Entries(*runs[0].stored)
    return PackedEntries(packing, runs)
