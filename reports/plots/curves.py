"""Curves of plots: means over the rollouts that arms have in common, window by window, with their counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.arms import Entrant
from reports.statistics.bounded import Scale, scale_of
from reports.statistics.paired import side_by_side
from reports.tables import observed_by, rollouts_of, suite_named


@dataclass(frozen=True)
class Curves:
    """One metric of several arms over the length of the video.

    Parameters
    ----------
    points
        For each label, [windows, 4]: latent frame, mean, and both ends of the interval.
    names
        For each label, the arm's name in a legend, followed by "(2 of 4)" where rollouts of it are missing.
    count
        Number of rollouts behind the points, in words.
    counts
        For each label, [windows]: the number of rollouts behind each point.
    """

    points: Mapping[str, np.ndarray]
    names: Mapping[str, str]
    count: str
    counts: Mapping[str, np.ndarray]


def curves_of(part: pd.DataFrame, entered: Sequence[tuple[Entrant, pd.DataFrame]]) -> Curves:
    """Return the curves of arms.

    Parameters
    ----------
    part
        Samples of one metric and scenario, as `reports.tables.tidy` makes them.
    entered
        The arms with their rows of `part`.
    """
    scale = _scale(part)
    labels = [entrant.label for entrant, _ in entered]
    rows = pd.concat([mine.assign(arm=place) for place, (_, mine) in enumerate(entered)]).dropna(subset="value")
    rollouts, groups = rollouts_of(rows, observed_by(part))
    own = rows.assign(rollout=rollouts).groupby("arm")["rollout"].nunique()
    ends = np.sort(rows["at_frame"].unique())
    arms, frames, values = rows["arm"].to_numpy(), rows["at_frame"].to_numpy(), rows["value"].to_numpy(float)
    points: dict[str, list[tuple[float, ...]]] = {}
    counts: dict[str, list[int]] = {}
    for end in ends:
        here = frames == end
        matrix = np.full((len(groups), len(labels)), np.nan)
        matrix[rollouts[here], arms[here]] = values[here]
        found = side_by_side(matrix, groups, scale)
        for place in np.flatnonzero(found.count):
            points.setdefault(labels[place], []).append(
                (float(end), found.mean[place], found.low[place], found.high[place])
            )
            counts.setdefault(labels[place], []).append(int(found.count[place]))
    names = {
        label: label if own.get(place, 0) == len(groups) else f"{label} ({own.get(place, 0)} of {len(groups)})"
        for place, label in enumerate(labels)
    }
    every = [number for each in counts.values() for number in each]
    low, high = min(every, default=0), max(every, default=0)
    count = f"n={low}" if low == high else f"n={low} to {high}"
    return Curves(
        {label: np.array(each) for label, each in points.items()},
        names,
        count,
        {label: np.array(each) for label, each in counts.items()},
    )


def _scale(part: pd.DataFrame) -> Scale:
    metric = suite_named(str(part["suite"].iloc[0])).metric_named(str(part["metric"].iloc[0]))
    return scale_of(metric) if metric else Scale()
