"""History of a number: steps in the means of many runs, and a plot of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.errors import HorizonError, StoreError
from harness.suite import Margin
from reports.gate.evidence import Evidence, read
from reports.gate.policy import declared
from reports.gate.verdicts import at_its_end
from reports.plots.strips import save
from reports.statistics.bounded import Scale
from reports.statistics.paired import side_by_side

ENOUGH = 6
"""Number of runs below which no step is reported."""
LEAST = 3
"""Fewest runs on either side of a step; a single one is an outlier."""
STRICT = 3.0
"""Penalty of a step, in units of the noise times the logarithm of the number of runs."""
ACROSS = 3
"""Panels in a row of the picture."""


@dataclass(frozen=True)
class Step:
    """A step before a run. told: its size in words; worse: whether it is a change for the worse."""

    run: str
    commit: str
    place: int
    before: float
    after: float
    told: str
    worse: bool


@dataclass(frozen=True)
class Series:
    """Means of one number over the runs that have it, and its steps. count: number of rollouts (or repeats) behind the
    means, in words."""

    arm: str
    suite: str
    scenario: str
    metric: str
    unit: str
    better: str
    runs: Sequence[str]
    values: np.ndarray
    steps: Sequence[Step] = field(default=())
    count: str = ""


def load(folder: Path) -> list[Evidence]:
    """Return all runs in a folder, in the order of their start.

    Raises StoreError for a folder without runs or with an unreadable one; HorizonError where their cohorts differ.
    """
    if not folder.is_dir():
        raise StoreError(f"{folder}: no such folder; give one with runs in it: campaigns, gates, baselines")
    found = [path / "head.parquet" if (path / "head.parquet").exists() else path for path in sorted(folder.iterdir())]
    sources = [path for path in found if path.suffix == ".parquet" or (path / "manifest.json").exists()]
    if not sources:
        raise StoreError(
            f"{folder}: no run in it; each is a folder that `horizon run` or `horizon gate` made, or a file"
        )
    runs = sorted((read(path) for path in sources), key=lambda run: (run.manifest.get("when", ""), str(run.source)))
    for run in runs[1:]:
        off = run.unlike(runs[0])
        if off:
            raise HorizonError(
                f"{run.source} is of another cohort than {runs[0].source}: {', '.join(off)}; keep them in separate "
                "folders"
            )
    return runs


def steps(runs: Sequence[Evidence], metrics: Sequence[str] | None = None) -> list[Series]:
    """Return every number that a gate judges (or those named, as SUITE.METRIC) over the runs, with its steps.

    A step is a change of level that exceeds both the noise and the metric's margin. The method is PELT (Killick et al.
    2012) with least absolute deviations, which are robust against outliers; the noise is estimated from run to run, and
    the penalty is that of an information criterion.
    """
    policy = declared(sorted({suite for run in runs for suite in run.suites()}))
    known = sorted({f"{suite}.{metric}" for run in runs for suite, metric in _there(run)})
    for name in metrics or ():
        if name not in known:
            raise HorizonError(f"--metric {name}: not in these runs; there are: {', '.join(known)}")
    wanted = set(metrics or [f"{suite}.{metric}" for suite, metric in policy])
    found: dict[tuple[str, str, str, str], list[tuple[int, pd.DataFrame]]] = {}
    for number, run in enumerate(runs):
        scores = run.scores[(run.scores["suite"] + "." + run.scores["metric"]).isin(wanted)]
        keys = ["arm", "suite", "scenario", "metric"]
        for key, part in scores.groupby(keys, observed=True, sort=True):
            found.setdefault(key, []).append((number, at_its_end(part)))
    return [_series(key, parts, runs, policy.get((key[1], key[3]), Margin())) for key, parts in found.items()]


def draw(series: Sequence[Series], path: Path) -> None:
    """Draw one panel for each number with a step (or for all, if none has one): means by run, levels, steps marked."""
    shown = [each for each in series if each.steps] or list(series)
    if not shown:
        raise HorizonError("no number that a gate judges is in these runs; name others with --metric SUITE.METRIC")
    down = -(-len(shown) // ACROSS)
    figure = Figure(figsize=(4 * ACROSS, 0.6 + 2.3 * down), layout="constrained")
    axes = figure.subplots(down, ACROSS, squeeze=False).ravel()
    for axis, each in zip(axes, shown, strict=False):
        places = np.arange(len(each.values))
        axis.plot(places, each.values, "o-", color="0.6", markersize=3, linewidth=0.8)
        edges = [0, *(step.place for step in each.steps), len(each.values)]
        for start, stop in itertools.pairwise(edges):
            level = np.median(each.values[start:stop])
            axis.plot([start - 0.3, stop - 0.7], [level, level], color="#1f5fa8", linewidth=2)
        for step in each.steps:
            colour = "#b3261e" if step.worse else "#2e7d32"
            axis.axvline(step.place - 0.5, color=colour, linewidth=1, linestyle="--")
            axis.annotate(
                f"{step.told} at {step.run}", (step.place - 0.5, 1), xycoords=("data", "axes fraction"),
                xytext=(3, -9), textcoords="offset points", fontsize=7, color=colour,
            )  # fmt: skip
        axis.set_title(f"{each.arm}: {each.metric}, {each.count}", fontsize=9, loc="left")
        axis.set_ylabel(each.unit, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.margins(y=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    figure.supxlabel("run, by start time", fontsize=8)
    save(figure, path)


def _there(run: Evidence) -> set[tuple[str, str]]:
    return set(zip(run.scores["suite"], run.scores["metric"], strict=True))


def _series(
    key: tuple[str, str, str, str],
    parts: Sequence[tuple[int, pd.DataFrame]],
    runs: Sequence[Evidence],
    margin: Margin,
) -> Series:
    """Return means over the rollouts that the runs have in common, so that lost rollouts do not change them."""
    rows = pd.concat([part.assign(run=place) for place, (_, part) in enumerate(parts)], ignore_index=True)
    codes = rows.groupby(["prompt", "seed", "horizon_latent_frames"], sort=False, observed=True).ngroup().to_numpy()
    values = np.full((codes.max() + 1, len(parts)), np.nan)
    values[codes, rows["run"].to_numpy()] = rows["value"].to_numpy(float)
    side = side_by_side(values, np.arange(len(values)), Scale())
    # Repeats of different runs are not paired.
    repeated = bool(rows["repeat"].any())
    means = np.nanmean(values, axis=0) if repeated else side.mean
    count = np.isfinite(values).sum(0) if repeated else side.count
    shown = [place for place in range(len(parts)) if np.isfinite(means[place])]
    numbers = [parts[place][0] for place in shown]
    first = rows.iloc[-1]
    found = Series(
        *key,
        unit=first["unit"],
        better=first["better"],
        runs=[_name(runs[number]) for number in numbers],
        values=means[shown],
        count=_count(count[shown], len(values), repeated),
    )
    commits = [runs[number].commit for number in numbers]
    return replace(found, steps=_steps(found, commits, margin))


def _count(counts: np.ndarray, whole: int, repeated: bool) -> str:
    low, high = counts.min(initial=whole), counts.max(initial=0)
    if low != high:
        return f"n={low} to {high}"
    return f"n={low}" if low == whole or repeated else f"n={low} of {whole}"


def _steps(series: Series, commits: Sequence[str], margin: Margin) -> list[Step]:
    values = series.values
    if len(values) < ENOUGH or not np.isfinite(values).all() or np.ptp(values) == 0:
        return []
    import ruptures

    relative = margin.relative > 0 and values.min() > 0
    signal = np.log(values) if relative else values
    # Differences from run to run exclude the steps themselves; the lower bound keeps rounding from being a step.
    noise = max(1.4826 * np.median(np.abs(np.diff(signal))) / np.sqrt(2), 1e-4 * np.ptp(signal))
    search = ruptures.Pelt(model="l1", min_size=LEAST, jump=1).fit(signal[:, None])
    places = [0, *search.predict(pen=STRICT * noise * np.log(len(values)))]
    levels = [float(np.median(values[start:stop])) for start, stop in itertools.pairwise(places)]
    found = []
    for place, before, after in zip(places[1:-1], levels, levels[1:], strict=False):
        size = after / before - 1 if relative else after - before
        if abs(after - before) <= margin.absolute or (relative and abs(size) <= margin.relative):
            continue
        told = f"{100 * size:+.1f} %" if relative else f"{size:+.3g} {series.unit}"
        worse = bool((after > before) == (series.better == "lower"))
        found.append(Step(series.runs[place], commits[place], place, before, after, told, worse))
    return found


def _name(run: Evidence) -> str:
    return run.source.parent.name if run.source.name == "head.parquet" else run.source.stem
