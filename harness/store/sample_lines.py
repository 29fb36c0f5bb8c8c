"""Checks of the lines of a record."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np

from harness.suite import Sample

LARGEST = 2**53
"""Largest integer that every reader of JSON represents exactly."""


def check_samples(found: list[list[Any]], rows: int) -> None:
    """Raise ValueError or TypeError for lines that are not samples; columns are checked at once, for speed."""
    if set(map(type, found)) - {list} or set(map(len, found)) - {len(Sample._fields)}:
        raise ValueError("a line that is not a list of row, metric, latent frame and value")
    if not found:
        return
    flat = list(chain.from_iterable(found))
    numbers, metrics, frames, values = (flat[place :: len(Sample._fields)] for place in range(len(Sample._fields)))
    if set(map(type, numbers)) != {int} or set(map(type, frames)) != {int}:
        raise ValueError("a row or a latent frame that is not a whole number")
    if set(map(type, metrics)) != {str}:
        raise ValueError("a metric that is not a name")
    if min(numbers) < 0 or max(numbers) >= rows:
        raise ValueError(f"a row outside the {rows} rollouts of its task")
    if min(frames) < 0 or max(frames) > LARGEST:
        raise ValueError("a latent frame out of range")
    if set(map(type, values)) - {int, float, type(None)}:
        raise ValueError("a value that is not a number")
    if not np.isfinite(np.array([value for value in values if value is not None], np.float64)).all():
        raise ValueError("a value that is not finite")
    # Metric and row fit into one 64-bit key, because both are few.
    codes = {metric: code for code, metric in enumerate(dict.fromkeys(metrics))}
    keys = np.fromiter(map(codes.__getitem__, metrics), np.int64, len(metrics)) * rows + np.array(numbers, np.int64)
    order = np.lexsort((np.array(frames, np.int64), keys))
    rising = np.stack([keys, np.array(frames, np.int64)])[:, order]
    if bool((rising[:, 1:] == rising[:, :-1]).all(0).any()):
        raise ValueError("two values of one metric at one latent frame of one rollout")


@contextmanager
def uncollected() -> Iterator[None]:
    """Disable garbage collection, which is slow while millions of lists are made and would find nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
