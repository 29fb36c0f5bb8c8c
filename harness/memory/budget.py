"""A method at other bytes, so that a policy is not confounded with its budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

import torch

from harness.errors import BudgetError, KnobError
from harness.memory.knobs import typed
from harness.memory.seam import Memory
from harness.memory.terms import MemorySpec

FAR = 100_000
"""Latent frames after which every bounded memory is full."""
TOLERANCE = 0.05
"""A share of the budget: a method whose bytes are farther from it is marked, with the reason."""
LONGEST = 1024
"""Latent frames of the longest context that is tried where the trained range is not known."""
META = torch.device("meta")


class Sizeable(Protocol):
    """What a strategy says of its bytes; see `harness.memory.Strategy`."""

    @property
    def bounded(self) -> bool: ...

    def open(self, spec: MemorySpec) -> Memory: ...

    def period(self, spec: MemorySpec) -> int: ...

    def footprint(self, spec: MemorySpec, frames: int) -> int: ...

    def resized(self, spec: MemorySpec, frames: int) -> Sizeable: ...

    def at_budget(self, spec: MemorySpec, budget: int) -> Sizeable: ...


Sized = TypeVar("Sized", bound=Sizeable)


@dataclass(frozen=True)
class Part:
    """A part of a memory, in latent frames.

    size: what it has in the method as given; sizes keep their proportions. least: below this it would not be the
    method. step: how many frames it grows by. most: where it stops to grow; None for a part that grows without end.
    """

    size: int
    least: int
    step: int = 1
    most: int | None = None


def apportion(frames: int, parts: Mapping[str, Part]) -> dict[str, int]:
    """Divide latent frames among the parts of a memory in proportion to their sizes.

    Every part begins at its least; each further step goes to the part that has least of its own size, the first one
    where several have. So each part grows with `frames` and never shrinks, and the sum of all sizes gives the sizes.

    Parameters
    ----------
    frames: latent frames to divide; fewer are used where the next step of the next part would exceed them.
    parts: by name.

    Returns
    -------
    Latent frames of each part, by name.

    Raises
    ------
    BudgetError: where the least of all parts together exceeds `frames`.
    """
    found = {name: part.least for name, part in parts.items()}
    if sum(found.values()) > frames:
        needed = " + ".join(f"{name} {least}" for name, least in found.items() if least)
        raise BudgetError(f"the smallest shape is {needed} latent frames beside the chunk, more than {frames}")
    while True:
        growing = [name for name, part in parts.items() if part.most is None or found[name] + part.step <= part.most]
        if not growing:
            return found
        name = min(growing, key=lambda name: found[name] / parts[name].size if parts[name].size else torch.inf)
        if sum(found.values()) + parts[name].step > frames:
            return found
        found[name] += parts[name].step


def full_bytes(strategy: Sizeable, spec: MemorySpec) -> int:
    """Return the most bytes that a full memory holds between two chunks.

    Parameters
    ----------
    strategy: a bounded one.
    spec: of the backbone that it adapted.
    """
    return max(strategy.footprint(spec, FAR + number * spec.chunk) for number in range(strategy.period(spec)))


def dense_bytes(spec: MemorySpec, window: int) -> int:
    """Return the cached bytes of a plain window of `window` latent frames, the current chunk included."""
    return spec.bytes((window - spec.chunk) * spec.frame_tokens)


def fitted(strategy: Sizeable, spec: MemorySpec, budget: int, *, resizable: bool) -> Sizeable:
    """Find the size at which the bytes of a strategy come nearest to a budget, by its `resized`.

    Of two sizes that are equally near, the smaller one is taken. Contexts are never longer than the trained range.

    Parameters
    ----------
    strategy: as it is asked for.
    spec: of the backbone that it adapted.
    budget: bytes, as `full_bytes` counts them.
    resizable: whether the strategy says, by a `resized` of its own, which of its parts grow or shrink.

    Raises
    ------
    BudgetError: for an unbounded memory, for a strategy that does not say how it is resized, and where its smallest
        shape exceeds the budget or the trained range.
    """
    name = type(strategy).__name__
    if not strategy.bounded:
        raise BudgetError(f"{name} keeps every frame: its bytes grow with the video, so no budget holds it")
    if not resizable:
        held = full_bytes(strategy, spec)
        if abs(held - budget) <= TOLERANCE * budget:
            return strategy
        raise BudgetError(
            f"{name} holds {readable(held)} and does not say what it is at other bytes; it can, by a method resized or "
            "at_budget of its own"
        )
    strategy.open(replace(spec, device=META))  # or say why not
    longest = LONGEST if spec.trained_frames is None else spec.trained_frames
    return nearest(partial(strategy.resized, spec), longest - spec.chunk, spec, budget)


def nearest(make: Callable[[int], Sized], most: int, spec: MemorySpec, budget: int) -> Sized:
    """Find the size from 1 to `most` at which the bytes of a family of strategies come nearest to a budget.

    Parameters
    ----------
    make: the strategy of a size; its bytes do not fall as the size grows. It raises KnobError (BudgetError is one) for
        a size that it cannot have. The sizes that it can have follow one another.
    most: the largest size.
    spec, budget: as for `fitted`.

    Raises
    ------
    BudgetError: where no size can be had, or the smallest exceeds the budget by more than `TOLERANCE`.
    """
    refused: KnobError = BudgetError(f"no frame fits beside a chunk of {spec.chunk}")
    low, best = 0, None
    while best is None and low < most:
        low += 1
        try:
            best = _made(make, low, spec)
        except KnobError as error:
            refused = error
    if best is None:
        raise BudgetError(f"none of its sizes up to {most} latent frames can be had: {refused}")
    held = full_bytes(best, spec)
    if held > (1 + TOLERANCE) * budget:
        raise BudgetError(
            f"the smallest shape ({typed(best)}) holds {readable(held)}, and the budget is {readable(budget)}"
        )
    # The largest size within the budget lies between `low`, which can be had, and `high`, which cannot or is too large.
    high, larger = most + 1, None
    while high - low > 1:
        middle = (low + high) // 2
        try:
            made = _made(make, middle, spec)
        except KnobError:
            high, larger = middle, None
            continue
        if full_bytes(made, spec) <= budget:
            low, best = middle, made
        else:
            high, larger = middle, made
    if larger is not None and full_bytes(larger, spec) - budget < budget - full_bytes(best, spec):
        return larger
    return best


def off_budget(strategy: Sizeable, found: Sizeable, spec: MemorySpec, budget: int) -> str | None:
    """Say what a strategy holds instead of its budget, and why.

    Parameters
    ----------
    strategy: as it was asked for.
    found: what its `at_budget` gave.
    spec, budget: as for `fitted`.

    Returns
    -------
    A clause without a subject, such as "holds 203 kB of 590 kB (-65.6 %): ..."; None within `TOLERANCE`.
    """
    held = full_bytes(found, spec)
    off = abs(held - budget)
    if off <= TOLERANCE * budget:
        return None
    why = "no shape of it comes nearer"
    if held < budget and spec.trained_frames is not None:
        try:
            longer = strategy.at_budget(replace(spec, trained_frames=None), budget)
        except KnobError:
            longer = found
        if abs(full_bytes(longer, spec) - budget) < off:
            why = f"more would be a longer context than the {spec.trained_frames} latent frames of training"
    return f"holds {readable(held)} of {readable(budget)} ({100 * held / budget - 100:+.1f} %): {why}"


def readable(size: int) -> str:
    """Return bytes in the unit that suits them."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            digits = 2 if size < 10 * scale else 1 if size < 100 * scale else 0
            return f"{size / scale:,.{digits}f} {unit}"
    return f"{size} B"


def _made(make: Callable[[int], Sized], size: int, spec: MemorySpec) -> Sized:
    """A strategy of a size, of which it is known that it opens."""
    made = make(size)
    made.open(replace(spec, device=META))
    return made
