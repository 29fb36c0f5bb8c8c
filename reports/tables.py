"""Tables from campaigns' folders: tidy samples, scores of rollouts, arms and their costs, failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from harness import registry
from harness.campaign.film_list import remedies, seen_in
from harness.errors import StoreError
from harness.store.cells import RECORD, Stored
from harness.store.manifest import has_known_world
from harness.store.sample_lines import uncollected
from harness.store.store import Store
from harness.suite import CostSuite, Row, Suite, find_metric
from reports.arms import WORDS, cells_of, cohort_name, entrants, knobs_text

TIDY = (
    "campaign", "cell", "code", "environment", "cohort", "backbone", "strategy", "arm", "knobs", "suite",
    "suite_version", "scenario", "prompt", "seed", "repeat", "horizon_latent_frames", "horizon_seconds", "metric",
    "unit", "better", "at_frame", "value", "weights", "observed_by",
)  # fmt: skip
"""Columns of the tidy table: one row a sample."""


def suite_named(name: str) -> Suite:
    """Return the registered suite of this name."""
    found: Suite = registry.load("suites", name)()
    return found


def observed_by(table: pd.DataFrame) -> str:
    """Return the column that identifies independent observations.

    In a known world that is the seed, since two prompts with one seed show one world; else the prompt, since films of
    one prompt are alike whatever their seed.
    """
    return "seed" if set(table["observed_by"].unique()) == {"seed"} else "prompt"


def rollouts_of(part: pd.DataFrame, by: str) -> tuple[np.ndarray, np.ndarray]:
    """Number the rollouts of some rows. Return each row's number, and the value of column `by` for each rollout."""
    codes = part.groupby(["prompt", "seed"], sort=False, observed=True).ngroup().to_numpy()
    _, first = np.unique(codes, return_index=True)
    return codes, part[by].to_numpy(object)[first]


def tidy(*stores: Store) -> pd.DataFrame:
    """Return all samples of the campaigns' finished cells, one a row."""
    words: dict[str, _Words] = {name: _Words() for name in WORDS}
    numbers: dict[str, list[Any]] = {name: [] for name in TIDY if name not in WORDS}
    loaded: dict[str, Suite] = {}
    for store in stores:
        cells = [cell for cell in cells_of(store) if cell.status == "ok"]
        if not cells:
            raise StoreError(
                f"{store.folder}: no finished cell in it yet; give the command that made it again, and let it finish"
            )
        manifest, later = store.manifest(), seen_in(store)
        with uncollected():
            for cell in cells:
                name = cell.about["suite"]
                loaded[name] = loaded.get(name) or suite_named(name)
                lines = [*cell.lines(), *map(list, later.get(cell.id, ()))]
                _add(cell, lines, manifest, loaded[name], words, numbers)
    table = {name: words[name].column() if name in words else np.concatenate(numbers[name]) for name in TIDY}
    return pd.DataFrame(table)


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return each suite's scores of its samples: one row for a rollout, horizon and score."""
    parts = []
    for name, part in table.groupby("suite", observed=True, sort=True):
        suite = suite_named(str(name))
        plain = part.astype(dict.fromkeys(part.select_dtypes("category"), "object"))
        # Suites may drop columns that they do not know, so the observation is added to their result.
        scored = suite.scores(plain).assign(observed_by=observed_by(part))
        declared = suite.all_metrics
        named = {name: find_metric(declared, name) for name in scored["metric"].unique()}
        for column, read in (("unit", lambda m: m.unit), ("better", lambda m: m.better)):
            scored[column] = scored["metric"].map({name: read(metric) for name, metric in named.items() if metric})
        parts.append(scored)
    return pd.concat(parts, ignore_index=True)


def troubles(*stores: Store) -> list[tuple[str, str, str]]:
    """Return (status, description of the cell, reason) of every cell without numbers."""
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


class Trouble(NamedTuple):
    """A requested cell without numbers. frames, rollouts: its length, and the prompt and seed of each of its rollouts;
    empty where they are not known."""

    arm: str
    suite: str
    scenario: str
    status: str
    reason: str
    frames: int = 0
    rollouts: tuple[tuple[str, int], ...] = ()

    @property
    def place(self) -> tuple[str, str, str]:
        """Arm, suite and scenario."""
        return self.arm, self.suite, self.scenario


def troubles_by_arm(store: Store) -> list[Trouble]:
    """Return every requested cell without numbers."""
    labels = {(each.strategy, each.knobs): each.label for each in entrants(store)}
    found = []
    for cell in cells_of(store):
        about, task = cell.about, cell.about["task"]
        if cell.status not in ("ok", "skipped"):
            arm = labels.get((about["strategy"], knobs_text(about["knobs"])), about["strategy"])
            rollouts = tuple((row["script"][0][1], row["seed"]) for row in task["rows"])
            place = arm, about["suite"], task["scenario"]
            found.append(Trouble(*place, cell.status, about["reason"], task["frames"], rollouts))
    return found


class _Words:
    """A categorical column with few different words, built part by part."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.codes: list[np.ndarray] = []

    def add(self, words: Sequence[str], which: np.ndarray) -> None:
        """Append words, given by their indices."""
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
    about, task = cell.about, cell.about["task"]
    flat = list(chain.from_iterable(lines))
    which, names, at_frame, value = (flat[place::4] for place in range(4))
    rows = [Row(row["seed"], tuple((start, text) for start, text in row["script"])) for row in task["rows"]]
    codes, found = pd.factorize(np.array(names, object))
    every = suite.all_metrics
    declared = {name: find_metric(every, name) for name in found}
    unknown = {name for name, metric in declared.items() if metric is None}
    if unknown:
        raise StoreError(
            f"{cell.folder / RECORD}: metrics that suite {about['suite']} does not have: {', '.join(sorted(unknown))}; "
            "it was written by another version of it"
        )
    place, count = np.array(which, int), len(lines)
    metrics = [metric for metric in declared.values() if metric is not None]
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
        "observed_by": "seed" if has_known_world(manifest["asked"]) else "prompt",
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
