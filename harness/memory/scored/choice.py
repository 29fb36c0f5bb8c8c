"""Choosing the tokens with the highest scores, row by row, and gathering them; never waits for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.errors import KnobError
from harness.memory.terms import MemorySpec

AT_ONCE = 6
"""Frames that tokens are taken from at once, so that they are never put together as a whole."""


def choose(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Choose the best tokens of every row, without waiting for the device.

    Parameters
    ----------
    scores: [B, N]; -inf for what must not be chosen.
    count: tokens to choose; all N where there are fewer.

    Returns
    -------
    Places in ascending order, [B, count]; and which of them were chosen at all (their score is not -inf), these first.
    """
    count_here = min(count, scores.shape[1])
    best, places = scores.topk(count_here, 1)
    places = torch.where(best > -torch.inf, places, scores.shape[1]).sort(1).values
    there = places < scores.shape[1]
    return places.clamp(max=scores.shape[1] - 1), there


def take(frames: Sequence[Tensor], old: Tensor, places: Tensor, there: Tensor) -> Tensor:
    """Gather tokens out of a run of frames, row by row.

    Parameters
    ----------
    frames: [B, 1, S, ...] each.
    old: what stays where nothing is `there`, and beyond the count of places, [B, n, ...].
    places: of the tokens in the run, [B, count].
    there: whether a token is taken at all, [B, count].

    Returns
    -------
    A tensor like `old`.
    """
    count, tokens = places.shape[1], frames[0].shape[2]
    shape = (*places.shape, *[1] * (old.ndim - 2))
    new = old[:, :count]
    for first in range(0, len(frames), AT_ONCE):
        group = torch.cat(tuple(frames[first : first + AT_ONCE]), 1).flatten(1, 2)
        local = places - first * tokens
        inside = there & (local >= 0) & (local < group.shape[1])
        index = local.clamp(0, group.shape[1] - 1).view(shape).expand(-1, -1, *group.shape[2:])
        new = torch.where(inside.view(shape), group.gather(1, index), new)
    return new if count == old.shape[1] else torch.cat((new, old[:, count:]), 1)


def check_reuse(name: str, max_reuse: int | None, chosen: int, new: int) -> None:
    """Raise KnobError where a limit of reuse may leave fewer tokens than are to be chosen.

    Parameters
    ----------
    name: of the strategy. max_reuse: its limit, None for none. chosen: frames of tokens to choose. new: frames whose
        tokens were never chosen, each time.
    """
    if max_reuse is not None and chosen > new:
        raise KnobError(
            f"{name}: with max_reuse {max_reuse}, {chosen} frames of tokens are to be chosen each time and only {new} "
            f"frames are new; use max_reuse none, or make room for at most {new} frames of chosen tokens"
        )


def check_queries_meet_keys(spec: MemorySpec) -> None:
    """Raise KnobError for a layout whose rotated keys cannot be scored against rotated queries."""
    spec.layout.rotated(torch.empty(1, 0, *spec.layout.shapes[0]), torch.empty(1, 0, 3))
