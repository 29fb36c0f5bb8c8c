"""The rollouts behind a report: prompt, seed, curves, scores, film, record and command of each."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.store.cells import RECORD, Stored
from harness.store.manifest import seeds_of
from harness.suite import Row
from reports.arms import Entrant, cells_of, knobs_text
from reports.page.charts import bounds_of
from reports.page.values import short
from reports.plots.interactive import SHOWN
from reports.pool import Snapshot
from reports.sheets.columns import Shown

MOST = 64
"""Most rollouts of a scenario that the page has of each arm; records.parquet has all."""


def rollouts(
    stores: Sequence[Snapshot],
    table: pd.DataFrame,
    scored: pd.DataFrame,
    field: Sequence[Entrant],
    shown: Shown,
    place: Path,
) -> dict[str, Any]:
    """Return the rollouts of the suites of quality, a block for each suite, scenario and length of videos.

    Parameters
    ----------
    table, scored
        All samples, and the suites' scores of them.
    place
        The report's folder; paths of records are relative to it.
    """
    labels = {(entrant.strategy, entrant.knobs): entrant.label for entrant in field}
    blocks: dict[tuple[str, str, int], _Block] = {}
    for store in stores:
        for cell in cells_of(store):
            about, task = cell.about, cell.about["task"]
            label = labels.get((about["strategy"], knobs_text(about["knobs"])))
            if cell.status == "ok" and label is not None and about["suite"] not in shown.costs:
                key = about["suite"], task["scenario"], task["frames"]
                blocks.setdefault(key, _Block(*key, about["seconds_per_latent_frame"])).add(label, cell, store)
    order = {suite: number for number, suite in enumerate(shown.displays)}
    made = [blocks[key] for key in sorted(blocks, key=lambda key: (order.get(key[0], 99), key[1], -key[2]))]
    arms = pd.Series([labels.get(pair) for pair in zip(table["strategy"], table["knobs"], strict=True)])
    scores_of = pd.Series([labels.get(pair) for pair in zip(scored["strategy"], scored["knobs"], strict=True)])
    data = [block.data(_kept(table, arms, block), _kept(scored, scores_of, block), shown) for block in made]
    commands = {entrant.label: command(entrant, stores) for entrant in field}
    folders = {store.folder: os.path.relpath(store.folder, place) for store in stores}
    return {"blocks": data, "commands": commands, "folders": [_posix(each) for each in folders.values()]}


def command(entrant: Entrant, stores: Sequence[Snapshot]) -> str:
    """Return the command that makes the cells of an arm again; "SUITE" stands for the suite."""
    asked = stores[0].manifest()["asked"]
    about = next(
        (cell.about for store in stores for cell in cells_of(store)
         if (cell.about["strategy"], knobs_text(cell.about["knobs"])) == (entrant.strategy, entrant.knobs)),
        {},
    )  # fmt: skip
    knobs = ",".join(f"{name}={value}" for name, value in (about.get("knobs_set") or {}).items())
    seeds = [seed for store in stores for seed in seeds_of(store.manifest()["asked"])]
    words = ["horizon", "run", "--strategy", f"{entrant.strategy}.{knobs}" if knobs else entrant.strategy]
    words += ["--suite", "SUITE", "--tier", str(asked["tier"]), "--backbone", str(asked["backbone"])]
    if seeds and all(isinstance(seed, int) for seed in seeds):
        words += ["--seed", str(min(seeds))] + (["--seeds", str(len(seeds))] if len(seeds) > 1 else [])
    return shlex.join([*words, "--equal-budget", "0", "--out", "runs/again"])


def _posix(path: str) -> str:
    return "" if path == "." else Path(path).as_posix() + "/"


def _kept(table: pd.DataFrame, arms: pd.Series, block: _Block) -> pd.DataFrame:
    """Return the rows of a block's rollouts, with the place of each rollout and the label of its arm."""
    chosen = (
        (table["suite"] == block.suite).to_numpy()
        & (table["scenario"] == block.scenario).to_numpy()
        & (table["horizon_latent_frames"] == block.frames).to_numpy()
    )
    part = table[chosen]
    pairs = zip(part["prompt"].astype(object), part["seed"], strict=True)
    rows = np.array([block.places.get(pair, -1) for pair in pairs], int)
    found = part.assign(rollout=rows, label=arms.to_numpy(object)[chosen])
    return found[(rows >= 0) & found["label"].notna().to_numpy()]


class _Block:
    """Rollouts of one suite, scenario and length."""

    def __init__(self, suite: str, scenario: str, frames: int, rate: float) -> None:
        self.suite, self.scenario, self.frames, self.rate = suite, scenario, frames, rate
        self.places: dict[tuple[str, int], int] = {}
        self.scripts: list[list[list[Any]]] = []
        self.at: dict[str, dict[int, tuple[str, int, Path]]] = {}
        self.total = 0

    def add(self, label: str, cell: Stored, store: Snapshot) -> None:
        """Add the rollouts of a cell, as far as there is room."""
        for number, row in enumerate(cell.about["task"]["rows"]):
            script = [[short(start * self.rate), text] for start, text in row["script"]]
            key = Row(row["seed"], tuple((start, text) for start, text in row["script"])).prompt, row["seed"]
            if key not in self.places:
                self.total += 1
                if len(self.places) == MOST:
                    continue
                self.places[key] = len(self.places)
                self.scripts.append(script)
            self.at.setdefault(label, {})[self.places[key]] = (cell.id, number, store.folder)

    def data(self, samples: pd.DataFrame, scores: pd.DataFrame, shown: Shown) -> dict[str, Any]:
        """Return the block for the script."""
        cells = list(dict.fromkeys((cell, folder) for mine in self.at.values() for cell, _, folder in mine.values()))
        index = {cell: place for place, (cell, _) in enumerate(cells)}
        folders = list(dict.fromkeys(folder for _, folder in cells))
        return {
            "suite": self.suite, "scenario": self.scenario, "seconds": short(self.frames * self.rate),
            "total": self.total, "scripts": self.scripts, "seeds": [int(seed) for _, seed in self.places],
            "cells": [[cell, folders.index(folder)] for cell, folder in cells], "record": RECORD,
            "at": {label: [[place, index[cell], row] for place, (cell, row, _) in mine.items()]
                   for label, mine in self.at.items()},
            "curves": list(self._curves(samples, shown)), "scores": list(self._scores(scores, shown)),
        }  # fmt: skip

    def _curves(self, samples: pd.DataFrame, shown: Shown) -> Iterable[Mapping[str, Any]]:
        """Yield each metric that a chart of the suite shows: the seconds of its windows, and the values by arm."""
        declared = shown.displays[self.suite].charts
        names = [chart.metric for chart in declared if chart.kind == "curve" and chart.scenario == self.scenario]
        if any(chart.kind == "switches" and chart.scenario == self.scenario for chart in declared):
            names += [name for name, _ in SHOWN]
        for name in dict.fromkeys(names):
            part = samples[(samples["metric"] == name).to_numpy()]
            if part.empty:
                continue
            ends = np.sort(part["at_frame"].unique())
            arms = {}
            for label, mine in part.groupby("label", sort=False):
                values = np.full((len(self.places), len(ends)), np.nan)
                values[mine["rollout"].to_numpy(), np.searchsorted(ends, mine["at_frame"])] = mine["value"]
                arms[str(label)] = [
                    [short(value, 3) for value in row] if np.isfinite(row).any() else None for row in values
                ]
            x = [short(end * self.rate) for end in ends]
            yield {"metric": name, "x": x, "range": bounds_of(self.suite, name), "arms": arms}

    def _scores(self, scores: pd.DataFrame, shown: Shown) -> Iterable[Mapping[str, Any]]:
        """Yield each score that a table of the report shows, with its value by arm and rollout."""
        for suite, column in shown.every():
            part = scores[(scores["metric"] == column.score).to_numpy()]
            if suite != self.suite or column.scenario != self.scenario or part.empty:
                continue
            arms = {}
            for label, mine in part.groupby("label", sort=False):
                values: list[Any] = [None] * len(self.places)
                for row, value in zip(mine["rollout"], mine["value"], strict=True):
                    values[row] = short(value, 4)
                arms[str(label)] = values
            yield {"heading": column.heading, "metric": column.score, "arms": arms}
