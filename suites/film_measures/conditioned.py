"""Scores that count only after an event in the video, since recall of a scene that was never left proves nothing.

The idea is MBench's: an event (a prompt switch, for instance) must have happened in the video before its memory of the
content before the event can be measured.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from suites.film_measures.windows import Values


class Conditioned(NamedTuple):
    """Scores of rollouts after a condition. values: NaN where the event did not happen, [n]; share: of the rollouts in
    which it did, of those where that is known; NaN where it is known of none."""

    values: Values
    share: float


def where_triggered(values: Values, happened: Values) -> Conditioned:
    """Return scores of the rollouts in which an event happened.

    Parameters
    ----------
    values
        The scores, [n].
    happened
        1 where the event happened, 0 where it did not, NaN where that is not known, [n].
    """
    known = np.isfinite(happened)
    share = float(np.mean(happened[known] > 0.5)) if known.any() else float("nan")
    return Conditioned(np.where(known & (happened > 0.5), values, np.nan), share)
