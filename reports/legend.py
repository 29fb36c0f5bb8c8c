"""How the tables of a report are to be read: what a number is of, what marks mean, and why there are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.store.manifest import has_known_world
from harness.store.store import Store
from reports.arms import Entrant, cells_of, knobs_text
from reports.columns import Shown
from reports.statistics.comparison import MOST, Comparison

TOLD = 6
"""Arms and reasons that a terminal names."""


@dataclass(frozen=True)
class Legend:
    """Sentences about a report's tables.

    Parameters
    ----------
    numbers
        What stands in the cells.
    marks
        What ▲ and ▼ mean; or, where there are none, why.
    unmarked
        Why a table has no marks, where others have.
    paired
        What rollouts of different arms have in common.
    incomplete
        How numbers are made where arms lack rollouts; empty where none does.
    stale
        Which arms other code made than today's, and what changed; empty where none.
    handicapped
        Which arms the model puts at a disadvantage, and how far; empty where none.
    without
        Which arms have cells without numbers, and why; the pages list each. Empty where none.
    """

    numbers: str
    marks: str
    unmarked: tuple[str, ...]
    paired: str
    incomplete: str
    stale: str = ""
    handicapped: str = ""
    without: str = ""

    @property
    def short(self) -> str:
        """All of it that a terminal shows."""
        parts = (self.numbers, self.marks, *self.unmarked, self.incomplete, self.stale, self.handicapped, self.without)
        return " ".join(filter(None, parts))


def legend_of(
    found: Comparison,
    field: Sequence[Entrant],
    stores: Sequence[Store],
    stale: Mapping[str, str],
    handicapped: Mapping[str, str],
    show: Shown,
) -> Legend:
    """Return how the tables of a report are to be read."""
    rows, baseline = found.rows, found.baseline
    # A metric may not apply to a rollout of one arm; a rollout is missing where none of its metrics is there.
    most = rows.groupby(["table", "suite", "scenario", "horizon_latent_frames", "cohort", "arm"])[["own", "of"]].max()
    unlike = bool((most["own"] < most["of"]).any())
    columns = {(suite, column.scenario, column.score) for suite, column in show.every()}
    seen = [each in columns for each in zip(rows["suite"], rows["scenario"], rows["metric"], strict=True)]
    shown = rows[np.array(seen, bool) | rows["suite"].isin(show.costs)]
    lacking = shown[shown["own"] < shown["of"]]
    column = ["table", "suite", "scenario", "horizon_latent_frames", "metric", "cohort"]
    disjoint = bool((lacking[lacking["count"] > 0].groupby(column)["count"].nunique() > 1).any())
    known = has_known_world(stores[0].manifest()["asked"])
    alike = "carries on the same true scenes" if known else "draws the same prompts"
    paired = f"Rollouts are paired: every arm {alike} with the same noise."
    incomplete = ""
    if unlike:
        paired = f"Rollouts are paired where arms have them in common: {alike}, with the same noise."
        paired = paired.replace("carries on", "they carry on").replace("draws", "they draw")
    if len(lacking):
        incomplete = (
            "Some arms lack rollouts, for instance (2 of 4): the numbers of such a column are of the rollouts that its "
            "arms have in common (n=2 of 4)."
        )
        if disjoint:
            incomplete += " Where arms have none in common each number says of how many it is, and nothing is compared."
    marks = (
        f"▲ better, ▼ worse than {baseline.name} of the same table: real below 0.05 after the correction for all pairs "
        "of arms in the column."
    )
    labels = list(dict.fromkeys(entrant.label for entrant in field))
    if not baseline.arms:
        why = "; ".join(dict.fromkeys(baseline.missing.values()))
        others = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
        marks = f"No marks: {why}. Give --baseline one of: {others}."
    elif not found.rows["difference"].notna().any():
        marks = f"No marks: nothing stands beside {baseline.name}."
    unmarked = tuple(f"No marks in {table}: {why}." for table, why in baseline.missing.items()) if baseline.arms else ()
    if any(rows.groupby("table")["arm"].nunique() > MOST):
        unmarked += (f"More than {MOST} arms: each is compared with the baseline only.",)
    whys = {why: ", ".join(label for label, reason in stale.items() if reason == why) for why in stale.values()}
    return Legend(
        numbers="Means with their 95 % interval in brackets; n rollouts (or repeats) behind each.",
        marks=marks,
        unmarked=unmarked,
        paired=paired,
        incomplete=incomplete,
        stale=" ".join(f"Stale, made by other code: {labels} ({why})." for why, labels in whys.items()),
        handicapped=_handicapped(handicapped),
        without=_without(field, stores),
    )


def _handicapped(arms: Mapping[str, str]) -> str:
    """Which arms the model puts at a disadvantage."""
    if not arms:
        return ""
    told = "; ".join(f"{label} ({where})" for label, where in arms.items())
    return f"Handicapped by this model, share of the score of full attention with nothing forgotten: {told}."


def _without(field: Sequence[Entrant], stores: Sequence[Store]) -> str:
    """Which arms have cells without numbers, of how many, and why."""
    labels = {(each.strategy, each.knobs): each.label for each in field}
    cells: Counter[str] = Counter()
    lost: Counter[tuple[str, str, str]] = Counter()
    for cell in (cell for store in stores for cell in cells_of(store)):
        about = cell.about
        arm = labels.get((about["strategy"], knobs_text(about["knobs"])), about["strategy"])
        cells[arm] += 1
        if cell.status != "ok":
            lost[arm, cell.status, about["reason"]] += 1
    told = [
        f"{arm} in {count} of {cells[arm]} cells ({': '.join(filter(None, (status, why)))})"
        for (arm, status, why), count in lost.items()
    ]
    more = f"; and {len(told) - TOLD} more, which the page lists" if len(told) > TOLD else ""
    return f"No numbers: {'; '.join(told[:TOLD])}{more}." if told else ""
