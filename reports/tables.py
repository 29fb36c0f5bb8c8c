"""From campaigns' folders to tables: tidy samples, scores a rollout, the arms and what they cost, what went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from harness import registry
from harness.campaign.film_list import remedies, seen_in
from harness.errors import StoreError
from harness.provenance.environment import cohort_of
from harness.store.manifest import content_id
from harness.store.store import RECORD, Store, Stored
from harness.suite import CostSuite, Row, Suite

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
class Timing:
    """What cells happened to take on one cohort, without care: milliseconds of a chunk of a whole batch, and of a
    prompt switch alone; NaN where nothing was measured."""

    chunk_ms: float = np.nan
    switch_ms: float = np.nan


@dataclass(frozen=True)
class Entrant:
    """A strategy with its knobs in a report. switch_frames: latent frames that a prompt switch replays. by_cohort: what
    its cells took, by the cohort that they ran on. budget_bytes, budget_note: as those of an arm of a campaign."""

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


def suite_named(name: str) -> Suite:
    """The registered suite of this name."""
    found: Suite = registry.load("suites", name)()
    return found


def observed_by(table: pd.DataFrame) -> str:
    """What makes two rollouts one observation: the seed of a world that is known (two prompts with one seed show one
    world); else the prompt, since films of one prompt are alike whatever their seed."""
    return "seed" if set(table["backbone"].unique()) == {"pocket"} else "prompt"


def rollouts_of(part: pd.DataFrame, by: str) -> tuple[np.ndarray, np.ndarray]:
    """Number the rollouts of some rows; returns the number of each row's, and of each rollout the column `by`."""
    codes = part.groupby(["prompt", "seed"], sort=False, observed=True).ngroup().to_numpy()
    _, first = np.unique(codes, return_index=True)
    return codes, part[by].to_numpy(object)[first]


def tidy(*stores: Store) -> pd.DataFrame:
    """All samples of the finished cells that are part of the campaigns, one a row."""
    words: dict[str, _Words] = {name: _Words() for name in WORDS}
    numbers: dict[str, list[Any]] = {name: [] for name in TIDY if name not in WORDS}
    loaded: dict[str, Suite] = {}
    for store in stores:
        cells = [cell for cell in cells_of(store) if cell.status == "ok"]
        if not cells:
            raise StoreError(
                f"{store.folder}: no finished cell in it yet; run it again: horizon run --out {store.folder}"
            )
        manifest, later = store.manifest(), seen_in(store)
        for cell in cells:
            name = cell.about["suite"]
            loaded[name] = loaded.get(name) or suite_named(name)
            lines = [*cell.lines(), *map(list, later.get(cell.id, ()))]
            _add(cell, lines, manifest, loaded[name], words, numbers)
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


def entrants(*stores: Store) -> list[Entrant]:
    """The arms of campaigns in the order of the first manifest, with what their cells cost."""
    costs: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
    for store in stores:
        for cell in cells_of(store):
            # Suites of cost measure what a cell costs themselves.
            if cell.status == "ok" and cell.about["cost"]:
                key = (cell.about["strategy"], knobs_text(cell.about["knobs"]))
                costs.setdefault(key, []).append((cohort_name(cell.about, store.manifest()), cell.about["cost"]))
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
    """An arm as a manifest has it, of which no cell is known."""
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
    """The short name of the machine, kernels and versions that a cell ran on."""
    return content_id(cohort_of(about, manifest["environments"].get(about["environment"], {})))


def cohorts_of(*stores: Store) -> dict[str, str]:
    """What the cohorts of campaigns are, in words, by their short names: the hardware, and whatever differs."""
    found: dict[str, dict[str, Any]] = {}
    for store in stores:
        environments = store.manifest()["environments"]
        for cell in cells_of(store):
            if cell.status == "ok":
                cohort = cohort_of(cell.about, environments.get(cell.about["environment"], {}))
                found[content_id(cohort)] = cohort
    keys = dict.fromkeys(key for cohort in found.values() for key in cohort)
    unlike = [key for key in keys if len({str(cohort.get(key)) for cohort in found.values()}) > 1]
    return {
        name: ", ".join(f"{key} {_brief(cohort.get(key))}" if key != "hardware" else str(cohort.get(key))
                        for key in dict.fromkeys(("hardware", *unlike)))
        for name, cohort in found.items()
    }  # fmt: skip


def _brief(value: Any) -> str:
    """A value in a few letters; of digests the first."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text[:9] if len(text) >= 16 and all(each in "0123456789abcdef" for each in text) else text


def _timing(costs: Sequence[Mapping[str, Any]]) -> Timing:
    turns = [turn["seconds"] for cost in costs for turn in cost["switches"]]
    return Timing(
        chunk_ms=float(np.median([cost["chunk_ms"] for cost in costs])),
        switch_ms=1000 * float(np.median(turns)) if turns else np.nan,
    )


def table_names(field: Sequence[Entrant]) -> list[str]:
    """The tables in which the arms stand, in their order."""
    return list(dict.fromkeys(name for entrant in field for name in entrant.tables))


def troubles(*stores: Store) -> list[tuple[str, str, str]]:
    """(status, which cells, reason) of everything that has no numbers."""
    found: dict[tuple[str, str, str], None] = {}
    for store in stores:
        for cell in cells_of(store):
            if cell.status != "ok":
                task = cell.about["task"]
                what = f"{cell.about['strategy']}, {task['scenario']}, {task['frames']} latent frames"
                found[cell.status, what, cell.about["reason"]] = None
            for metric, remedy in cell.about["skipped_metrics"].items():
                found["skipped", metric, remedy] = None
        for metric, remedy in remedies(store).items():
            found["skipped", metric, remedy] = None
    return list(found)


def troubles_by_arm(store: Store) -> list[tuple[str, str, str, str, str]]:
    """(arm, suite, scenario, status, reason) of every cell that was to be run and has no numbers."""
    labels = {(each.strategy, each.knobs): each.label for each in entrants(store)}
    found: dict[tuple[str, str, str, str, str], None] = {}
    for cell in cells_of(store):
        about = cell.about
        if cell.status not in ("ok", "skipped"):
            arm = labels.get((about["strategy"], knobs_text(about["knobs"])), about["strategy"])
            found[arm, about["suite"], about["task"]["scenario"], cell.status, about["reason"]] = None
    return list(found)


def cells_of(store: Store) -> list[Stored]:
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
        "cohort": cohort_name(about, manifest),
        "backbone": about["backbone"],
        "strategy": about["strategy"],
        "arm": about.get("arm", about["strategy"]),
        "knobs": knobs_text(about["knobs"]),
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


def knobs_text(knobs: Mapping[str, Any]) -> str:
    """Knobs as one text, which tells arms apart."""
    return json.dumps(knobs, sort_keys=True)
