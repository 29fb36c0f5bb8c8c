"""Curves over a video: means over the rollouts that arms have in common, window by window, with their counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.arms import Entrant, entered
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
    windows
        Latent frames at which windows end, also those in which no arm has a number.
    seconds
        Seconds of video in a latent frame.
    unit
        Unit of the metric.
    """

    points: Mapping[str, np.ndarray]
    names: Mapping[str, str]
    count: str
    counts: Mapping[str, np.ndarray]
    windows: np.ndarray
    seconds: float
    unit: str


class CurveSource:
    """The curves of a report, each computed once, although plots, the page and both tables show the same ones.

    Parameters
    ----------
    table
        All samples, as `reports.tables.tidy` makes them.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table
        self._places = table.groupby(["suite", "scenario", "metric"], observed=True, sort=False).indices
        self._found: dict[tuple[object, ...], Curves | None] = {}

    def has(self, suite: str, scenario: str, metric: str) -> bool:
        """Return whether there are samples of a metric, with a value or without one."""
        return (suite, scenario, metric) in self._places

    def of(self, suite: str, scenario: str, metric: str, field: Sequence[Entrant], table: str) -> Curves | None:
        """Return the curves of a metric.

        Parameters
        ----------
        suite, scenario, metric
            What is shown.
        field
            The arms of the report.
        table
            Name of the report's table whose arms are shown.

        Returns
        -------
        Curves or None
            None where no arm of the table has a number.
        """
        key = (suite, scenario, metric, tuple(entrant.label for entrant in field if table in entrant.tables))
        if key not in self._found:
            self._found[key] = self._computed((suite, scenario, metric), field, table)
        return self._found[key]

    def _computed(self, key: tuple[str, str, str], field: Sequence[Entrant], table: str) -> Curves | None:
        places = self._places.get(key)
        if places is None:
            return None
        whole = self._table.take(places)
        part = whole.dropna(subset="value")
        there = entered(part, field, table)
        return _curves(part, there, np.sort(whole["at_frame"].unique())) if there else None


def _curves(part: pd.DataFrame, there: Sequence[tuple[Entrant, pd.DataFrame]], windows: np.ndarray) -> Curves:
    """Return the curves of arms.

    part: samples of one metric and scenario that have a value. there: the arms with their rows of `part`.
    """
    scale = _scale(part)
    labels = [entrant.label for entrant, _ in there]
    rows = pd.concat([mine.assign(arm=place) for place, (_, mine) in enumerate(there)])
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
    first = part.iloc[0]
    return Curves(
        {label: np.array(each) for label, each in points.items()},
        names,
        count,
        {label: np.array(each) for label, each in counts.items()},
        windows,
        first["horizon_seconds"] / first["horizon_latent_frames"],
        str(first["unit"]),
    )


def _scale(part: pd.DataFrame) -> Scale:
    metric = suite_named(str(part["suite"].iloc[0])).metric_named(str(part["metric"].iloc[0]))
    return scale_of(metric) if metric else Scale()
