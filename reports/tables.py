"""From a campaign's folder to tables: tidy samples, scores a rollout, and comparisons with intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from harness import registry
from harness.environment import cohort_of
from harness.errors import StoreError
from harness.manifest import content_id
from harness.screening import remedies, seen_in
from harness.store import RECORD, Store, Stored
from harness.suite import CostSuite, Row, Suite
from reports.stats import Interval, interval

BASELINE = "sliding_window"
TIDY = (
    "campaign", "cell", "code", "environment", "cohort", "backbone", "strategy", "arm", "knobs", "suite",
    "suite_version", "scenario", "prompt", "seed", "repeat", "horizon_latent_frames", "horizon_seconds", "metric",
    "unit", "better", "at_frame", "value", "weights",
)  # fmt: skip
"""Columns of the tidy table (DESIGN of records): one row a sample."""
WORDS = (
    "campaign", "cell", "code", "environment", "cohort", "backbone", "strategy", "arm", "knobs", "suite",
    "suite_version", "scenario", "prompt", "metric", "unit", "better", "weights",
)  # fmt: skip
"""Those of them that are categories."""


@dataclass(frozen=True)
class Entrant:
    """A strategy with its knobs in a report. chunk_ms: of a whole batch; switch_ms: of a prompt switch alone, and
    switch_frames: latent frames that it replays. budget_bytes, budget_note: as those of an arm of a campaign."""

    label: str
    strategy: str
    knobs: str
    values: dict[str, Any]
    tables: tuple[str, ...]
    cache_bytes: float
    chunk_ms: float
    switch_ms: float = np.nan
    switch_frames: float = np.nan
    budget_bytes: int | None = None
    budget_note: str | None = None


@dataclass
class Sheet:
    """One table of a report, as text: a heading, its columns, a row an arm; what is to be said of it, a line each."""

    title: str
    heads: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def suite_named(name: str) -> Suite:
    """The registered suite of this name."""
    found: Suite = registry.load("suites", name)()
    return found


def tidy(store: Store) -> pd.DataFrame:
    """All samples of the finished cells that are part of the campaign, one a row."""
    cells = [cell for cell in _cells(store) if cell.status == "ok"]
    if not cells:
        raise StoreError(f"{store.folder}: no finished cell in it yet; run it again: horizon run --out {store.folder}")
    words: dict[str, _Words] = {name: _Words() for name in WORDS}
    numbers: dict[str, list[Any]] = {name: [] for name in TIDY if name not in WORDS}
    manifest, suites = store.manifest(), {cell.about["suite"] for cell in cells}
    loaded = {name: suite_named(name) for name in suites}
    later = seen_in(store)
    for cell in cells:
        lines = [*cell.lines(), *map(list, later.get(cell.id, ()))]
        _add(cell, lines, manifest, loaded[cell.about["suite"]], words, numbers)
    table = {name: words[name].column() if name in words else np.concatenate(numbers[name]) for name in TIDY}
    return pd.DataFrame(table)


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """What each suite makes of its samples: one row a rollout, horizon and score."""
    parts = []
    for name, part in table.groupby("suite", observed=True, sort=True):
        suite = suite_named(str(name))
        plain = part.astype(dict.fromkeys(part.select_dtypes("category"), "object"))
        scored = suite.scores(plain)
        for column, read in (("unit", lambda m: m.unit), ("better", lambda m: m.better)):
            scored[column] = scored["metric"].map({key: read(metric) for key, metric in suite.all_metrics.items()})
        parts.append(scored)
    return pd.concat(parts, ignore_index=True)


def entrants(store: Store) -> list[Entrant]:
    """The arms of a campaign in the order of its manifest, with what their cells cost."""
    costs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in _cells(store):
        # Suites of cost measure what a cell costs themselves.
        if cell.status == "ok" and cell.about["cost"]:
            key = (cell.about["strategy"], _text(cell.about["knobs"]))
            costs.setdefault(key, []).append(cell.about["cost"])
    found = []
    for arm in store.manifest()["asked"]["arms"]:
        cost = costs.get((arm["strategy"], _text(arm["knobs"])), [])
        turns = [turn for each in cost for turn in each["switches"]]
        found.append(
            Entrant(
                label=arm["label"],
                strategy=arm["strategy"],
                knobs=_text(arm["knobs"]),
                values=arm["knobs"],
                tables=tuple(arm["tables"]),
                cache_bytes=max((each["cache_bytes"] for each in cost), default=np.nan),
                chunk_ms=float(np.median([each["chunk_ms"] for each in cost])) if cost else np.nan,
                switch_ms=1000 * float(np.median([each["seconds"] for each in turns])) if turns else np.nan,
                switch_frames=max((each["frames"] for each in turns), default=np.nan),
                budget_bytes=arm.get("budget_bytes"),
                budget_note=arm.get("budget_note"),
            )
        )
    return found


def table_names(field: Sequence[Entrant]) -> list[str]:
    """The tables in which the arms stand, in their order."""
    return list(dict.fromkeys(name for entrant in field for name in entrant.tables))


def compared(scored: pd.DataFrame, field: Sequence[Entrant]) -> pd.DataFrame:
    """Every score of every arm, by scenario and horizon, with its interval and its paired difference to the baseline.

    The baseline of a table is its arm of `sliding_window`. `real` says whether the interval of the difference excludes
    zero. Columns: table, arm, suite, scenario, horizon_seconds, metric, unit, better, count, mean, low, high,
    difference, difference_low, difference_high, real.
    """
    rows = []
    keys = ["suite", "scenario", "horizon_latent_frames", "horizon_seconds", "metric", "unit", "better"]
    by_arm = {
        arm: part.set_index(["prompt", "seed"])
        for arm, part in scored.groupby(["strategy", "knobs"], observed=True, sort=False)
    }
    for table in table_names(field):
        within = [
            entrant for entrant in field if table in entrant.tables and (entrant.strategy, entrant.knobs) in by_arm
        ]
        base = next((e for e in within if e.strategy == BASELINE), None)
        based = {} if base is None else dict(list(by_arm[base.strategy, base.knobs].groupby(keys, observed=True)))
        for entrant in within:
            for key, part in by_arm[entrant.strategy, entrant.knobs].groupby(keys, observed=True, sort=True):
                own = _interval(part["value"])
                row = {"table": table, "arm": entrant.label, **dict(zip(keys, key, strict=True))}
                row |= {"count": own.count, "mean": own.mean, "low": own.low, "high": own.high}
                other = based.get(key)
                if other is not None and entrant is not base:
                    off = _interval((part["value"] - other["value"]).dropna())
                    row |= {"difference": off.mean, "difference_low": off.low, "difference_high": off.high}
                    row["real"] = off.excludes_zero
                rows.append(row)
    found = pd.DataFrame(rows)
    for name in ("difference", "difference_low", "difference_high", "real"):
        if name not in found:
            found[name] = np.nan
    return found


def marked(row: pd.Series) -> str:
    """What a table writes behind a value of `compared`: ▲ or ▼ where its difference to the baseline is real."""
    if not (row["real"] is True or row["real"] == 1):
        return ""
    return " ▲" if (row["difference"] > 0) == (row["better"] == "higher") else " ▼"


def troubles(store: Store) -> list[tuple[str, str, str]]:
    """(status, which cells, reason) of everything that has no numbers."""
    found: dict[tuple[str, str, str], None] = {}
    for cell in _cells(store):
        if cell.status != "ok":
            task = cell.about["task"]
            found[
                cell.status,
                f"{cell.about['strategy']}, {task['scenario']}, {task['frames']} latent frames",
                cell.about["reason"],
            ] = None
        for metric, remedy in cell.about["skipped_metrics"].items():
            found["skipped", metric, remedy] = None
    for metric, remedy in remedies(store).items():
        found["skipped", metric, remedy] = None
    return list(found)


def troubles_by_arm(store: Store) -> list[tuple[str, str, str, str, str]]:
    """(arm, suite, scenario, status, reason) of every cell that was to be run and has no numbers."""
    labels = {(each.strategy, each.knobs): each.label for each in entrants(store)}
    found: dict[tuple[str, str, str, str, str], None] = {}
    for cell in _cells(store):
        about = cell.about
        if cell.status not in ("ok", "skipped"):
            arm = labels.get((about["strategy"], _text(about["knobs"])), about["strategy"])
            found[arm, about["suite"], about["task"]["scenario"], cell.status, about["reason"]] = None
    return list(found)


def _cells(store: Store) -> list[Stored]:
    """The finished cells that the manifest names; others may lie in the folder from an earlier request."""
    wanted = set(store.manifest()["asked"]["cells"])
    return [cell for cell in store.cells() if cell.id in wanted]


class _Words:
    """A column of few different words, put together part by part."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.codes: list[np.ndarray] = []

    def add(self, words: Sequence[str], which: np.ndarray) -> None:
        """Append words, by their numbers."""
        places = np.array([self.places.setdefault(word, len(self.places)) for word in words], np.int32)
        self.codes.append(places[which])

    def column(self) -> pd.Categorical:
        codes = np.concatenate(self.codes)
        return pd.Categorical.from_codes(codes, list(self.places)).reorder_categories(sorted(self.places))


def _add(
    cell: Stored,
    lines: list[list[Any]],
    manifest: Mapping[str, Any],
    suite: Suite,
    words: Mapping[str, _Words],
    numbers: Mapping[str, list[Any]],
) -> None:
    """Append the samples of a cell to every column."""
    about, task, declared = cell.about, cell.about["task"], suite.all_metrics
    environments = manifest["environments"]
    which, names, at_frame, value = (list(column) for column in zip(*lines, strict=True)) if lines else ([],) * 4
    rows = [Row(row["seed"], tuple((start, text) for start, text in row["script"])) for row in task["rows"]]
    codes, found = pd.factorize(np.array(names, object))
    unknown = set(found) - set(declared)
    if unknown:
        raise StoreError(
            f"{cell.folder / RECORD}: metrics that suite {about['suite']} does not have: {', '.join(sorted(unknown))}; "
            "it was written by another version of it"
        )
    place, count = np.array(which, int), len(lines)
    metrics = [declared[name] for name in found]
    constant = {
        "campaign": manifest["name"],
        "cell": cell.id,
        "code": (about.get("code") or {}).get("digest", ""),
        "environment": about["environment"],
        "cohort": content_id(cohort_of(about, environments.get(about["environment"], {}))),
        "backbone": about["backbone"],
        "strategy": about["strategy"],
        "arm": about.get("arm", about["strategy"]),
        "knobs": _text(about["knobs"]),
        "suite": about["suite"],
        "suite_version": about["suite_version"],
        "scenario": task["scenario"],
        "weights": (about.get("weights") or {}).get("about", ""),
    }
    varying = {
        "prompt": ([row.prompt for row in rows], place),
        "metric": (list(found), codes),
        "unit": ([metric.unit for metric in metrics], codes),
        "better": ([metric.better for metric in metrics], codes),
    }
    for name, column in words.items():
        column.add(*(varying[name] if name in varying else ([constant[name]], np.zeros(count, int))))
    seeds = np.array([row.seed for row in rows])[place]
    columns = {
        "seed": seeds,
        "repeat": seeds if isinstance(suite, CostSuite) else np.zeros(count, int),
        "horizon_latent_frames": np.full(count, task["frames"]),
        "horizon_seconds": np.full(count, task["frames"] * about["seconds_per_latent_frame"]),
        "at_frame": np.array(at_frame, int),
        "value": np.array(value, float),
    }
    for name, values in numbers.items():
        values.append(columns[name])


def _interval(values: pd.Series) -> Interval:
    """Rollouts are drawn by seed: two prompts with one seed show one world."""
    return interval(values.to_numpy(float), values.index.get_level_values("seed").to_numpy())


def _text(knobs: dict[str, Any]) -> str:
    return json.dumps(knobs, sort_keys=True)
