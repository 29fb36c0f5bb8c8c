"""What became of a cell that ended with an error: one judge for rollouts and measurements."""

from __future__ import annotations

import errno

import torch

from harness.errors import HorizonError, HorizonTooLongError, NotFiniteError
from harness.store.store import Status

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system answers where a file has no room."""


def is_full(error: BaseException) -> bool:
    """Return whether an error says that a disk is full, or a user's share of it: no fault of a cell."""
    return isinstance(error, OSError) and error.errno in FULL


def outcome_of(error: BaseException) -> tuple[Status, str]:
    """Status of a cell that ended with `error`, and the reason in one line.

    "oom": memory ran out, or would have. "nan": numbers that are not finite. "failed": everything else; the reason of
    an error that is not Horizon's own begins with its type.
    """
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    if isinstance(error, NotFiniteError):
        return "nan", first
    if isinstance(error, HorizonTooLongError | torch.OutOfMemoryError | MemoryError):
        return "oom", first
    if isinstance(error, HorizonError):
        return "failed", first
    # torch has no class of its own for a CPU that is out of memory.
    status: Status = "oom" if isinstance(error, RuntimeError) and "not enough memory" in str(error) else "failed"
    return status, f"{type(error).__name__}: {first}"
