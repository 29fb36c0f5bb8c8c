"""The status and reason of a cell that ended with an error, for rollouts and measurements alike."""

from __future__ import annotations

import errno

import torch

from harness.errors import HorizonError, HorizonTooLongError, NotFiniteError
from harness.store.store import Status

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of the system for a file without room."""


def is_full(error: BaseException) -> bool:
    """Return whether an error means that the disk or the user's quota is full, which is no failure of a cell."""
    return isinstance(error, OSError) and error.errno in FULL


def outcome_of(error: BaseException) -> tuple[Status, str]:
    """Return the status of a cell that ended with `error`, and the reason in one line.

    "oom": memory ran out, or would have. "nan": numbers that are not finite. "failed": everything else; the reason of
    an error that is not a HorizonError begins with its type.
    """
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    if isinstance(error, NotFiniteError):
        return "nan", first
    if isinstance(error, HorizonTooLongError | torch.OutOfMemoryError | MemoryError):
        return "oom", first
    if isinstance(error, HorizonError):
        return "failed", first
    # torch raises RuntimeError for a CPU that is out of memory.
    status: Status = "oom" if isinstance(error, RuntimeError) and "not enough memory" in str(error) else "failed"
    return status, f"{type(error).__name__}: {first}"
