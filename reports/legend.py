"""Explanations of a report's tables: what numbers and marks mean, and why marks are missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.store.manifest import IMPORTED, has_known_world
from harness.store.store import Store
from reports.arms import Entrant, cells_of, knobs_text
from reports.sheets.columns import Shown
from reports.statistics.comparison import MOST, Comparison

TOLD = 6
"""Arms and reasons that a terminal names at most."""


STATES = {frozenset({False}): "unpaired", frozenset({True}): "paired by prompt"}
"""What is said of an imported arm whose columns are all unpaired, or all paired."""


@dataclass(frozen=True)
class Legend:
    """Sentences about a report's tables.

    Parameters
    ----------
    numbers
        Meaning of the numbers.
    marks
        Meaning of ▲ and ▼; or, where no table has marks, the reason.
    unmarked
        Why a table has no marks while others have.
    paired
        What rollouts of different arms have in common.
    incomplete
        How numbers are computed where arms lack rollouts; empty where no arm does.
    stale
        Arms with cells made by other code than the current one, and what changed; empty where there are none.
    handicapped
        Arms that the model puts at a disadvantage, and their shares of full attention's score; empty where there are
        none.
    without
        Arms with cells without numbers, and the reasons; the pages list each cell. Empty where there are none.
    """

    numbers: str
    marks: str
    unmarked: tuple[str, ...]
    paired: str
    incomplete: str
    stale: str = ""
    handicapped: str = ""
    without: str = ""
    imported: str = ""
    """Arms of films made elsewhere: what they are, and whether they are paired."""

    @property
    def short(self) -> str:
        """The sentences that a terminal shows."""
        parts = (
            self.numbers, self.marks, *self.unmarked, self.imported, self.incomplete, self.stale, self.handicapped,
            self.without,
        )  # fmt: skip
        return " ".join(filter(None, parts))


def legend_of(
    found: Comparison,
    field: Sequence[Entrant],
    stores: Sequence[Store],
    stale: Mapping[str, str],
    handicapped: Mapping[str, str],
    show: Shown,
) -> Legend:
    """Return the explanations of a report's tables."""
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
            "Some arms lack rollouts, for instance (2 of 4): the numbers of such a column are over the rollouts that "
            "all of its arms have (n=2 of 4)."
        )
        if disjoint:
            incomplete += " Arms without common rollouts are not compared; each number gives its own count."
    marks = (
        f"▲ better, ▼ worse than {baseline.name} in the same table: significant at 0.05 after the correction for all "
        "pairs of arms in the column."
    )
    labels = list(dict.fromkeys(entrant.label for entrant in field))
    if not baseline.arms:
        why = "; ".join(dict.fromkeys(baseline.missing.values()))
        others = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
        marks = f"No marks: {why}. Give --baseline one of: {others}."
    elif not found.rows["difference"].notna().any():
        marks = f"No marks: no arm can be compared with {baseline.name}."
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
        imported=_imported(rows, field, stores),
    )


def _imported(rows: pd.DataFrame, field: Sequence[Entrant], stores: Sequence[Store]) -> str:
    """Return what films made elsewhere are, and whether they are compared rollout by rollout."""
    # Of numbers that no other arm has, there is nothing to pair.
    column = ["table", "suite", "scenario", "horizon_latent_frames", "metric", "cohort"]
    beside = rows[rows.groupby(column)["arm"].transform("nunique") > 1] if len(rows) else rows
    told, several = [], len({arm.label for arm in field}) > 1
    for arm in (arm for arm in field if arm.strategy == IMPORTED):
        mine = [cell.about for store in stores for cell in cells_of(store) if cell.about.get("arm") == arm.label]
        facts = [about[IMPORTED] for about in mine if about.get(IMPORTED)]
        rates = sorted({f"{fact['rate']:g}" for fact in facts if "rate" in fact}, key=float)
        uneven = sum(bool(fact.get("sampled_by_time")) for fact in facts)
        states = set(beside.loc[beside["arm"] == arm.label, "paired"])
        words = [
            f"{arm.label}: {len({fact['file'] for fact in facts})} films, {' and '.join(rates)} pictures a second",
            *([f"{uneven} of a variable rate"] if uneven else []),
            *(
                ["unpaired" if states == {False} else "paired by prompt" if states == {True} else "partly paired"]
                if several
                else []
            ),
        ]
        told.append(", ".join(words))
    if not told:
        return ""
    return (
        f"Films made elsewhere, sampled by time ({'; '.join(told)}): they share prompts with other arms at most, not "
        "noise. Unpaired arms have means over their own prompts and are compared by Welch's test."
    )


def _handicapped(arms: Mapping[str, str]) -> str:
    """Which arms the model puts at a disadvantage."""
    if not arms:
        return ""
    told = "; ".join(f"{label} ({where})" for label, where in arms.items())
    return f"Handicapped by this model, share of the score of full attention with nothing forgotten: {told}."


def _without(field: Sequence[Entrant], stores: Sequence[Store]) -> str:
    """Return the arms that have cells without numbers, the counts of these cells, and the reasons."""
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
