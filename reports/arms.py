"""The arms of a table: their labels, tables, cell timings and cohorts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.campaign.campaign import EQUAL
from harness.provenance.environment import cohort_of
from harness.store.cells import Stored
from harness.store.manifest import content_id
from harness.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

WORDS = (
    "campaign", "cell", "code", "environment", "cohort", "backbone", "strategy", "arm", "knobs", "suite",
    "suite_version", "scenario", "prompt", "metric", "unit", "better", "weights", "observed_by",
)  # fmt: skip
"""Columns of the tidy table that are categories."""


@dataclass(frozen=True)
class Timing:
    """Timings from quality cells on one cohort, not measured in isolation: milliseconds of a chunk of a whole batch,
    and of a prompt switch alone; NaN where nothing was measured."""

    chunk_ms: float = np.nan
    switch_ms: float = np.nan


@dataclass(frozen=True)
class Entrant:
    """A strategy with its knobs in a report. switch_frames: latent frames that a prompt switch replays. by_cohort:
    timings of its cells by cohort. budget_bytes, budget_note: those of the campaign's arm."""

    label: str
    strategy: str
    knobs: str
    values: dict[str, Any]
    tables: tuple[str, ...]
    cache_bytes: float
    switch_frames: float = np.nan
    by_cohort: Mapping[str, Timing] = field(default_factory=dict)
    budget_bytes: int | None = None
    budget_note: str | None = None

    @property
    def resized(self) -> bool:
        """Whether it is in the table of the equal budget only."""
        return self.tables == (EQUAL,)


def entrants(*stores: Store) -> list[Entrant]:
    """Return the arms of campaigns in the order of the first manifest, with the costs of their cells."""
    costs: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
    for store in stores:
        manifest = store.manifest()
        for cell in cells_of(store):
            # Cost suites measure the cost of a cell themselves.
            if cell.status == "ok" and cell.about["cost"]:
                key = (cell.about["strategy"], knobs_text(cell.about["knobs"]))
                costs.setdefault(key, []).append((cohort_name(cell.about, manifest), cell.about["cost"]))
    arms = {arm["label"]: arm for store in reversed(stores) for arm in reversed(store.manifest()["asked"]["arms"])}
    found = []
    for arm in reversed(arms.values()):
        plain = entrant_of(arm)
        mine = costs.get((plain.strategy, plain.knobs), [])
        turns = [turn for _, cost in mine for turn in cost["switches"]]
        found.append(
            replace(
                plain,
                cache_bytes=max((cost["cache_bytes"] for _, cost in mine), default=np.nan),
                switch_frames=max((each["frames"] for each in turns), default=np.nan),
                by_cohort={
                    cohort: _timing([cost for known, cost in mine if known == cohort])
                    for cohort in dict.fromkeys(cohort for cohort, _ in mine)
                },
            )
        )
    return found


def entrant_of(arm: Mapping[str, Any]) -> Entrant:
    """Return an arm from a manifest, without any cells."""
    knobs = json.loads(knobs_text(arm["knobs"]))
    return Entrant(
        label=arm["label"],
        strategy=arm["strategy"],
        knobs=knobs_text(arm["knobs"]),
        values=knobs,
        tables=tuple(arm["tables"]),
        cache_bytes=np.nan,
        budget_bytes=arm.get("budget_bytes"),
        budget_note=arm.get("budget_note"),
    )


def cohort_name(about: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Return the short name of the machine, kernels and versions that a cell ran on."""
    return content_id(cohort_of(about, manifest))


def cohorts_of(*stores: Store) -> dict[str, str]:
    """Return descriptions of the campaigns' cohorts by short name: the hardware, and whatever else differs."""
    found: dict[str, dict[str, Any]] = {}
    for store in stores:
        manifest = store.manifest()
        for cell in cells_of(store):
            if cell.status == "ok":
                cohort = cohort_of(cell.about, manifest)
                found[content_id(cohort)] = cohort
    keys = dict.fromkeys(key for cohort in found.values() for key in cohort)
    unlike = [key for key in keys if len({str(cohort.get(key)) for cohort in found.values()}) > 1]
    return {
        name: ", ".join(f"{key} {_brief(cohort.get(key))}" if key != "hardware" else str(cohort.get(key))
                        for key in dict.fromkeys(("hardware", *unlike)))
        for name, cohort in found.items()
    }  # fmt: skip


def _brief(value: Any) -> str:
    """Return a short form of a value: a prefix for digests."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text[:9] if len(text) >= 16 and all(each in "0123456789abcdef" for each in text) else text


def _timing(costs: Sequence[Mapping[str, Any]]) -> Timing:
    turns = [turn["seconds"] for cost in costs for turn in cost["switches"]]
    return Timing(
        chunk_ms=float(np.median([cost["chunk_ms"] for cost in costs])),
        switch_ms=1000 * float(np.median(turns)) if turns else np.nan,
    )


def table_names(field: Sequence[Entrant]) -> list[str]:
    """Return the tables in which the arms stand, in their order."""
    return list(dict.fromkeys(name for entrant in field for name in entrant.tables))


def knobs_text(knobs: Mapping[str, Any]) -> str:
    """Return knobs as one text that identifies an arm."""
    return json.dumps(knobs, sort_keys=True)


def cells_of(store: Store) -> list[Stored]:
    """Return the finished cells that the manifest names; others may lie in the folder from an earlier request."""
    wanted = set(store.manifest()["asked"]["cells"])
    return [cell for cell in store.cells() if cell.id in wanted]


def entered(part: pd.DataFrame, field: Sequence[Entrant], table: str) -> list[tuple[Entrant, pd.DataFrame]]:
    """Return the rows of each arm of a table; arms without rows are left out."""
    rows = dict(list(part.groupby(["strategy", "knobs"], observed=True, sort=False)))
    there = [(entrant, rows.get((entrant.strategy, entrant.knobs))) for entrant in field if table in entrant.tables]
    return [(entrant, mine) for entrant, mine in there if mine is not None]
