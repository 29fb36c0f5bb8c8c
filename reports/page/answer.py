"""The answer in three sentences: which arm keeps a video longest, at what price, and which arms are as good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from reports.arms import Entrant
from reports.page.grids import BEST, TIED, ranked
from reports.sheets.columns import Placed, Shown
from reports.statistics.comparison import Comparison
from reports.tables import suite_named

FEW = 4
"""Most arms that a sentence names."""


def answer(found: Comparison, field: Sequence[Entrant], shown: Shown, marked: Mapping[str, str]) -> list[str]:
    """Return three sentences about the first table; one where there is no number to rank by.

    Parameters
    ----------
    marked
        Words in brackets behind the names of some arms: handicapped, untrained.
    """
    column = deciding(found, shown)
    part = pd.DataFrame() if column is None else first_table(column, found.rows)
    if column is None or part.empty:
        return ["No score of this campaign says which memory keeps a video itself; the tables show what was measured."]
    pairs = column.of(found.pairs)
    pairs = pairs[
        (pairs["table"] == part["table"].iloc[0])
        & (pairs["horizon_latent_frames"] == part["horizon_latent_frames"].iloc[0])
    ]
    ranks = ranked(part, pairs)
    higher = part["better"].iloc[0] != "lower"
    order = part[part["count"] > 0].sort_values("mean", ascending=not higher, kind="stable")
    best = [arm for arm in order["arm"] if ranks.get(arm) == BEST] or list(order["arm"][:1])
    tied = [arm for arm in order["arm"] if ranks.get(arm) == TIED]
    return [_longest(order, best, column, marked), _price(best, tied, field, marked), _apart(order, best, tied)]


def deciding(found: Comparison, shown: Shown) -> Placed | None:
    """Return the column that decides the answer: a score in seconds of the headline's scenario that ends with the
    video, where one is shown; else the headline."""
    head = shown.headline
    if head is None:
        return None
    for placed in shown.main():
        metric = suite_named(placed.suite).metric_named(placed.column.score)
        alike = placed.suite == head.suite and placed.column.scenario == head.column.scenario
        if alike and metric is not None and metric.until_horizon and not first_table(placed, found.rows).empty:
            return placed
    return head


def first_table(column: Placed, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers of a column in the report's first table, at the longest videos."""
    part = column.of(rows)
    part = part[part["table"] == next(iter(rows["table"]), "")]
    return part[part["horizon_latent_frames"] == part["horizon_latent_frames"].max()]


def _longest(order: pd.DataFrame, best: Sequence[str], column: Placed, marked: Mapping[str, str]) -> str:
    row = next(order[order["arm"] == best[0]].itertuples())
    unit = " s" if row.unit == "s" else ""
    digits = 1 if row.unit == "s" else 2
    interval = f", 95 % interval {row.low:.{digits}f} to {row.high:.{digits}f}" if row.low < row.high else ""
    verb = "keeps" if len(best) == 1 else "keep"
    whole = f" of {row.horizon_seconds:g} s" if row.unit == "s" else f" after {row.horizon_seconds:g} s"
    what = f"the video itself longest: {row.mean:.{digits}f}{unit}{whole}"
    if row.unit != "s":
        what = f"the most of the video: {column.column.heading} {row.mean:.{digits}f}{whole}"
    text = f"{_named(best, marked)} {verb} {what} (n={row.count}{interval})"
    base = order[order["arm"] == row.baseline]
    if len(base) and row.baseline not in best:
        text += f"; {row.baseline}, the baseline, {base['mean'].iloc[0]:.{digits}f}{unit}"
    return f"{text}."


def _price(best: Sequence[str], tied: Sequence[str], field: Sequence[Entrant], marked: Mapping[str, str]) -> str:
    arms = {entrant.label: entrant for entrant in field}
    sizes = {label: arm.cache_bytes for label, arm in arms.items() if np.isfinite(arm.cache_bytes)}
    priced = [label for label in best if label in sizes]
    if not priced:
        return "What that costs was not measured."
    first = arms[min(priced, key=lambda label: sizes[label])]
    least_of = ", the least of them" if len(best) > 1 else ""
    timing = next(iter(first.by_cohort.values()), None) if len(first.by_cohort) == 1 else None
    pace = f" and {timing.chunk_ms:.0f} ms a chunk (indicative)" if timing else ""
    text = f"{first.label} takes {sizes[first.label] / 1000:,.0f} kB of cache{pace}{least_of}"
    cheaper = [label for label in tied if sizes.get(label, np.inf) < 0.99 * sizes[first.label]]
    if cheaper:
        least = min(cheaper, key=lambda label: sizes[label])
        share = sizes[least] / sizes[first.label]
        return (
            f"{text}; {_named([least], marked)} is not told apart from it and takes {100 * share:.0f} % of that cache."
        )
    return f"{text}; no arm with less cache is on a level with it."


def _apart(order: pd.DataFrame, best: Sequence[str], tied: Sequence[str]) -> str:
    behind = len(order) - len(best) - len(tied)
    if len(order) < 2:
        return "There is no other arm to compare it with."
    lead = best[0] if len(best) == 1 else "the best"
    if not tied:
        return f"All {behind} other arms are significantly behind {lead}." if behind else "All arms are alike."
    names = _named(tied, {})
    rest = f"; {behind} {'other arm is' if behind == 1 else 'others are'} significantly behind" if behind else ""
    return f"Not told apart from {lead}: {names}{rest}."


def _named(labels: Sequence[str], marked: Mapping[str, str]) -> str:
    told = [f"{label} ({marked[label]})" if label in marked else label for label in labels]
    if len(told) > FEW:
        return f"{', '.join(told[: FEW - 1])} and {len(told) - FEW + 1} more"
    return " and ".join(filter(None, (", ".join(told[:-1]), told[-1])))
