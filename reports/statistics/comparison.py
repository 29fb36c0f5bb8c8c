"""Comparison of arms: every score with its interval, every difference of two arms with its test, on common rollouts.

A column of a report is one metric of one scenario at one horizon. Its numbers are means over the rollouts that the arms
of a table have in common (`reports.statistics.paired.common`). All pairs of arms of a column are tested, and their p
are corrected together (Benjamini and Hochberg): of the differences called significant in a column, at most one in
twenty is expected to be false. Marks, the sentences about the baseline and the matrix of pairwise wins all come from
these tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.store.manifest import IMPORTED
from harness.suite import CostSuite, Suite
from reports.arms import Entrant, table_names
from reports.statistics.baseline import Baseline, choose
from reports.statistics.bootstrap import LEVEL, adjusted
from reports.statistics.bounded import Scale, means, scale_of
from reports.statistics.paired import flip_p, side_by_side, student_p
from reports.statistics.unpaired import difference, strangers
from reports.tables import observed_by, rollouts_of, suite_named

KEYS = ("suite", "scenario", "horizon_latent_frames", "horizon_seconds", "metric", "unit", "better", "cohort")
"""Keys of a column. Speeds of two cohorts are two columns; for all other metrics the cohort is empty."""
MOST = 32
"""Number of arms of a table up to which all pairs are compared; above it, each arm is compared with the baseline."""
ROWS = (
    "table", "arm", *KEYS, "count", "own", "of", "mean", "low", "high", "baseline", "difference", "difference_low",
    "difference_high", "p", "p_adjusted", "real", "yardstick", "paired",
)  # fmt: skip
PAIRS = ("table", *KEYS, "arm", "other", "count", "difference", "low", "high", "p", "p_adjusted", "real", "paired")


@dataclass(frozen=True)
class Comparison:
    """Numbers and differences of the arms of a report.

    Parameters
    ----------
    rows
        One row for each table, arm and column. count: rollouts behind the number. own, of: rollouts of the column that
        the arm has, and that exist at all. mean, low, high: NaN where the arm has less than half of the rollouts of the
        others (`count` is 0). difference, p: to the table's baseline; real: significant at 0.05 after the correction.
        yardstick: whether the metric is the distance to this very arm.
    pairs
        One row for each table, column and pair of arms: `arm` minus `other`.
    baseline
        The baseline of each table.
    """

    rows: pd.DataFrame
    pairs: pd.DataFrame
    baseline: Baseline


def compared(scored: pd.DataFrame, field: Sequence[Entrant], baseline: str | None = None) -> Comparison:
    """Compare the arms of a campaign.

    Parameters
    ----------
    scored
        Scores as `reports.tables.scores` makes them.
    field
        The arms, with the tables in which they stand.
    baseline
        Name of the arm with which the others are compared; None for the default.
    """
    chosen = choose(field, baseline)
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    within = {table: [entrant for entrant in field if table in entrant.tables] for table in table_names(field)}
    for key, column in _columns(scored, field):
        for table, entrants in within.items():
            labels = [entrant.label for entrant in entrants if entrant.label in column.places]
            if not labels:
                continue
            found = _Column(column, labels, chosen.arms.get(table), {e.label: e.strategy for e in entrants})
            about = {"table": table, **key}
            rows += [about | row for row in found.rows()]
            pairs += [about | pair for pair in found.pairs]
    return Comparison(pd.DataFrame(rows, columns=list(ROWS)), pd.DataFrame(pairs, columns=list(PAIRS)), chosen)


@dataclass(frozen=True)
class _Values:
    """One metric of one scenario at one horizon: values [rollouts, arms], NaN where a value is missing."""

    values: np.ndarray
    groups: np.ndarray
    places: Mapping[str, int]
    scale: Scale
    cost: bool
    yardstick: str


def _columns(scored: pd.DataFrame, field: Sequence[Entrant]) -> Iterator[tuple[dict[str, Any], _Values]]:
    """Yield the key of every column of a report with the values of all arms."""
    labels = {(entrant.strategy, entrant.knobs): entrant.label for entrant in field}
    names = [labels.get(pair) for pair in zip(scored["strategy"], scored["knobs"], strict=True)]
    suites: dict[str, Suite] = {str(name): suite_named(str(name)) for name in scored["suite"].unique()}
    costs = {name for name, suite in suites.items() if isinstance(suite, CostSuite)}
    cohorts = scored["cohort"] if "cohort" in scored else pd.Series("", index=scored.index)
    scored = scored.assign(arm=names, cohort=cohorts.astype(object).where(scored["suite"].isin(costs), ""))
    observation = observed_by(scored)
    scored = scored.dropna(subset=["arm", "value"])
    for key, part in scored.groupby(list(KEYS), observed=True, sort=True):
        about = dict(zip(KEYS, key, strict=True))
        suite = suites[about["suite"]]
        codes, arms = pd.factorize(part["arm"])
        cost = about["suite"] in costs
        rollouts, groups = rollouts_of(part, "seed" if cost else observation)
        values = np.full((len(groups), len(arms)), np.nan)
        values[rollouts, codes] = part["value"].to_numpy(float)
        metric = suite.metric_named(about["metric"])
        scale = scale_of(metric, about["horizon_seconds"]) if metric else Scale()
        places = {str(arm): place for place, arm in enumerate(arms)}
        yield about, _Values(values, groups, places, scale, cost, metric.yardstick if metric else "")


class _Column:
    """One column of one table: means over common rollouts, and the pairs of its arms."""

    def __init__(self, column: _Values, labels: list[str], baseline: str | None, strategies: Mapping[str, str]) -> None:
        self.column, self.labels, self.baseline = column, labels, baseline
        self.values = column.values[:, [column.places[label] for label in labels]]
        self.there = np.isfinite(self.values)
        self.strange = strangers(self.there, [strategies[label] == IMPORTED for label in labels])
        # Arms that pair with no other one must not leave the others without common rollouts.
        self.side = side_by_side(np.where(self.strange, np.nan, self.values), column.groups, column.scale)
        self.itself = [bool(column.yardstick) and strategies[label] == column.yardstick for label in labels]
        self.pairs = self._pairs()
        self.indexed = {(pair["arm"], pair["other"]): pair for pair in self.pairs}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each arm, in the table's order."""
        own, whole, side = self.there.sum(0), int(self.there.any(1).sum()), self.side
        for place, label in enumerate(self.labels):
            mean, itself = side.mean[place], self.itself[place]
            # The distance of an arm to itself is exact, so it has no interval.
            low, high = (mean, mean) if itself else (side.low[place], side.high[place])
            count = int(side.count[place])
            if self.strange[place]:
                alone = side_by_side(self.values[:, [place]], self.column.groups, self.column.scale)
                mean, low, high, count = alone.mean[0], alone.low[0], alone.high[0], int(alone.count[0])
            found = {
                "arm": label, "count": count, "own": int(own[place]), "of": whole, "mean": mean,
                "low": low, "high": high, "yardstick": itself, "baseline": self.baseline, "real": False,
                "paired": not self.strange[place],
            }  # fmt: skip
            yield found | self._against(label)

    def _against(self, label: str) -> dict[str, Any]:
        """Return the arm's difference to the baseline, from the table of pairs."""
        unknown = dict.fromkeys(("difference", "difference_low", "difference_high", "p", "p_adjusted"), np.nan)
        pair = self.indexed.get((label, self.baseline)) or self.indexed.get((self.baseline, label))
        # Without common rollouts the means and the differences are over different rollouts.
        if pair is None or (pair["paired"] and not self.side.rollouts.any()):
            return unknown
        off, low, high = pair["difference"], pair["low"], pair["high"]
        if pair["arm"] != label:
            off, low, high = -off, -high, -low
        rest = {name: pair[name] for name in ("p", "p_adjusted", "real", "paired")}
        return {"difference": off, "difference_low": low, "difference_high": high, **rest}

    def _pairs(self) -> list[dict[str, Any]]:
        """Return all pairs of arms (or of each with the baseline, above `MOST`), with p corrected over the column."""
        free = [place for place, itself in enumerate(self.itself) if not itself]
        couples = list(itertools.combinations(free, 2))
        if len(self.labels) > MOST:
            couples = [pair for pair in couples if self.baseline in (self.labels[pair[0]], self.labels[pair[1]])]
        arms, rollouts = self.side.arms, self.side.rollouts
        together = [pair for pair in couples if rollouts.any() and arms[list(pair)].all()]
        rows = self._differences(together, rollouts) if together else []
        done = set(together)
        for pair in couples:
            # An arm that has too few rollouts for the table is compared on those that it shares with each other arm.
            mine = self.there[:, list(pair)].all(1)
            if self.strange[list(pair)].any():
                rows.append(self._unpaired(pair))
            elif pair not in done and mine.any():
                rows += self._differences([pair], mine)
        # Differences that are all zero cannot become significant, so they are not part of the family (Tarone 1990).
        p = np.array([row["p"] for row in rows], float)
        p[p < 1] = adjusted(p[p < 1].tolist())
        return [
            {**row, "p_adjusted": float(each), "real": bool(each < 1 - LEVEL)}
            for row, each in zip(rows, p, strict=True)
        ]

    def _differences(self, couples: list[tuple[int, int]], rollouts: np.ndarray) -> list[dict[str, Any]]:
        one, other = (np.array(side) for side in zip(*couples, strict=True))
        off = self.values[rollouts][:, one] - self.values[rollouts][:, other]
        groups = self.column.groups[rollouts]
        mean, low, high = means(off, groups, self.column.scale.differences())
        low, high = (np.where(np.isfinite(end), end, np.nan) for end in (low, high))
        _, place = np.unique(groups, return_inverse=True)
        sums = np.zeros((place.max() + 1, off.shape[1]))
        np.add.at(sums, place, off)
        p = student_p(sums) if self.column.cost else flip_p(sums)
        names = [(self.labels[a], self.labels[b]) for a, b in couples]
        numbers = zip(mean.tolist(), low.tolist(), high.tolist(), p.tolist(), strict=True)
        return [
            dict(
                zip(("arm", "other", "count", "difference", "low", "high", "p"), (*name, len(off), *each), strict=True),
                paired=True,
            )
            for name, each in zip(names, numbers, strict=True)
        ]

    def _unpaired(self, pair: tuple[int, int]) -> dict[str, Any]:
        """Return the difference of two arms that share no rollout, one of them imported."""
        one, other = (self.values[:, place] for place in pair)
        found = difference(one, other, self.column.groups, self.column.scale)
        low, high = (end if np.isfinite(end) else np.nan for end in (found.low, found.high))
        return {
            "arm": self.labels[pair[0]], "other": self.labels[pair[1]], "count": found.count,
            "difference": found.mean, "low": low, "high": high, "p": found.p, "paired": False,
        }  # fmt: skip


def marked(row: Any) -> str:
    """Return the mark behind a number of `Comparison.rows`: ▲ or ▼ where it is significantly better or worse than the
    baseline's."""
    if not row.real or row.better == "neither":
        return ""
    return " ▲" if (row.difference > 0) == (row.better == "higher") else " ▼"


def whole_lengths(table: pd.DataFrame) -> dict[tuple[str, str], list[int]]:
    """Return the lengths (latent frames) of the videos of each suite and scenario, the longest first.

    Parameters
    ----------
    table
        Samples as `reports.tables.tidy` makes them. A length that only one arm has, beside a longer one, belongs to a
        strategy that stops at its trained range, and is left out.
    """
    kinds = table[["suite", "scenario", "horizon_latent_frames", "strategy", "knobs"]].drop_duplicates()
    lengths = {}
    for (suite, scenario), part in kinds.groupby(["suite", "scenario"], observed=True):
        several = min(2, len(part[["strategy", "knobs"]].drop_duplicates()))
        count = part["horizon_latent_frames"].value_counts()
        shown = {int(frames) for frames in count.index[count >= several]} | {int(count.index.max())}
        lengths[str(suite), str(scenario)] = sorted(shown, reverse=True)
    return lengths
