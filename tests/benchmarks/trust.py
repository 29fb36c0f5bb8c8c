"""Which measures of long video agree with which truths of the pocket, over many memories.

`python -m tests.benchmarks.trust [--rows 64] [--frames 240] [--arm NAME[.KNOB=VALUE] ...] [--out runs/trust]`

Every arm rolls out the same worlds: those of the suite drift ("steady": a true first chunk is carried on), and those of
interactive in which a scene comes back ("recall-21"). Of each rollout the true identity, motion or recall is known; the
measures see its pictures only. The table has Spearman's rank correlation of arm means, of a measure and of a truth,
with the 95 % interval of a bootstrap over worlds; its sign is turned where less of a measure is better, so that +1 is
full agreement. Arms that are finished are kept in `--out` and not rolled out again; an arm whose weights do not fit is
left out, and named.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import registry
from harness.errors import HorizonError
from harness.films.contract import Act, Film, Span
from harness.rollout.task_rollout import rollout_of
from harness.suite import Metric, Place, Task, find_metric
from suites.drift import Drift
from suites.film_measures.declared import DERIVED, PLAIN
from suites.film_measures.scored import film_scores
from suites.interactive import Interactive
from suites.observers.probe import edges
from suites.viewers.plain.measures import of_film
from suites.viewers.plain.tracks import looks_of

ARMS = (
    "sliding_window", "attention_sink", "memrope", "echo_infinity", "rolling_sink", "infinity_rope", "memflow",
    "deep_forcing", "ema_sink", "longlive_rag", "echo_forcing", "sliding_window.window=6", "attention_sink.sink=1",
    "videomla", "dummy_forcing", "forcing_kv", "sliding_window.window=21",
)  # fmt: skip
Worlds = Sequence[Mapping[str, float]]
"""Measures and truths of each world."""
TRUTHS = {"identity": "unsaid_identity", "motion": "motion", "recall": "recall"}
"""Names of the true scores, by their names in the table."""
BATCH, DRAWS = 8, 1000
LATE = 0.85
"""Share of a rollout after which its true identity and motion are read, as in the suite drift."""


def measures_of(pictures: np.ndarray, rate: float, chunk: int) -> dict[str, float]:
    """Return all measures that need no other model, of pictures uint8 [T, H, W, 3]."""
    count = len(pictures)
    ends = edges(count)
    windows = tuple(Span(start, end, end) for start, end in zip([0, *ends[:-1]], ends, strict=True))
    film = Film("one", Path(), "", "", "", count, rate, ends[0], windows, (Act(0, count, count, "", "smooth"),),
                "", chunk, chunk)  # fmt: skip
    looks = looks_of(film, enumerate(pictures))
    curves = {}
    for name in PLAIN:
        part = of_film(name, film, looks)
        if part.samples:
            at, values = zip(*part.samples, strict=True)
            curves[name] = np.array(at, float), np.array(values, float)
    return film_scores(curves, count, rate)


def rolled(name: str, rows: int, frames: int) -> dict[str, list[dict[str, float]]]:
    """Roll an arm out. Return, for drift and for recall, the measures and the truth of each world."""
    backbone = registry.backbone("pocket")
    _, strategy = registry.parse_strategy(name)
    steady = next(task for task in Drift().tasks(backbone, "full") if task.scenario == "steady")
    steady = replace(steady, frames=frames)
    back = next(task for task in Interactive().tasks(backbone, "full") if task.scenario == "recall-21")
    found: dict[str, list[dict[str, float]]] = {}
    for suite, task in ((Drift(), steady), (Interactive(), back)):
        for start in range(0, rows, BATCH):
            part = replace(task, rows=task.rows[start : min(start + BATCH, rows)])
            found.setdefault(suite.name, []).extend(_batch(backbone, strategy, suite, part))
    return found


def _batch(backbone: Any, strategy: Any, suite: Any, task: Task) -> list[dict[str, float]]:
    given = suite.given(backbone, task)
    observer = suite.observer(backbone, task, Place(Path("."), {}))
    decode = backbone.codec.decoder()
    shown = []
    chunks = [(given, 0)] if given is not None else []
    with torch.inference_mode():
        chunks.extend((chunk.latents, chunk.start) for chunk in rollout_of(backbone, strategy, task, given=given))
        for latents, start in chunks:
            observer.see(latents, start)
            shown.append(decode(latents.float().cpu()))
    pictures = (torch.cat(shown, 1).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).numpy()
    truths: list[dict[str, list[float]]] = [{} for _ in task.rows]
    for sample in observer.samples():
        late = sample.metric == "recall" or sample.at_frame > LATE * task.frames
        if sample.metric in TRUTHS.values() and late and sample.value is not None:
            truths[sample.row].setdefault(sample.metric, []).append(sample.value)
    rate, size = backbone.latents_per_second, backbone.chunk
    return [
        {**measures_of(each, rate, size), **{f"true {name}": float(np.mean(values)) for name, values in truth.items()}}
        for each, truth in zip(pictures, truths, strict=True)
    ]


def correlations(arms: Mapping[str, Mapping[str, Worlds]], seed: int = 0) -> list[dict[str, Any]]:
    """Return for each measure and truth the rank correlation over arms, with its interval.

    Parameters
    ----------
    arms
        For each arm and suite: measures and truths of each world, the same worlds in the same order for all arms.
    seed
        Seed of the bootstrap.
    """
    declared = {name: Metric(*about) for name, about in (PLAIN | DERIVED).items()}
    rows = []
    for truth, name in TRUTHS.items():
        suite = "interactive" if truth == "recall" else "drift"
        worlds = [arm[suite] for arm in arms.values()]
        true = _table(worlds, f"true {name}")
        names = sorted({key for arm in worlds for world in arm for key in world if not key.startswith("true ")})
        draws = np.random.default_rng(seed).integers(0, true.shape[1], (DRAWS, true.shape[1]))
        for measure in names:
            values = _table(worlds, measure)
            metric = find_metric(declared, measure)
            sign = -1 if metric is not None and metric.better == "lower" else 1
            drawn = np.array([_spearman(values[:, each], true[:, each]) for each in draws])
            low, high = np.nanquantile(drawn, [0.025, 0.975]) if np.isfinite(drawn).any() else (np.nan, np.nan)
            ends = sorted((sign * float(low), sign * float(high)))
            rows.append({"measure": measure, "truth": truth, "rho": sign * _spearman(values, true), "low": ends[0],
                         "high": ends[1], "arms": len(worlds), "worlds": int(true.shape[1])})  # fmt: skip
    return rows


def _table(worlds: Sequence[Sequence[Mapping[str, float]]], name: str) -> np.ndarray:
    """Return values [arms, worlds], NaN where a world has none."""
    return np.array([[world.get(name, np.nan) for world in arm] for arm in worlds], float)


def _spearman(values: np.ndarray, true: np.ndarray) -> float:
    """Return the rank correlation of the arms' means, NaN where either has a single value."""
    there = [np.isfinite(each).any(1) for each in (values, true)]
    arms = there[0] & there[1]
    if arms.sum() < 3:
        return float("nan")
    one, other = (_ranks(np.nanmean(each[arms], 1)) for each in (values, true))
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks; equal values share their mean rank."""
    _, place, counts = np.unique(values.round(9), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2)[place]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the correlations as a table of Markdown, a row a measure."""
    by = {(row["measure"], row["truth"]): row for row in rows}
    lines = [f"| measure | {' | '.join(TRUTHS)} |", f"|---|{'---|' * len(TRUTHS)}"]
    for measure in dict.fromkeys(row["measure"] for row in rows):
        found = [by.get((measure, truth)) for truth in TRUTHS]
        cells = [
            f"{row['rho']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]" if row and np.isfinite(row["rho"]) else ""
            for row in found
        ]
        lines.append(f"| `{measure}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=64, help="worlds for each arm, at most 64")
    parser.add_argument("--frames", type=int, default=240, help="latent frames of the worlds that are carried on")
    parser.add_argument("--arm", action="append", metavar="NAME[.KNOB=VALUE]")
    parser.add_argument("--out", type=Path, default=Path("runs/trust"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    arms = {}
    for name in asked.arm or ARMS:
        path = asked.out / f"{name.replace('/', '-')}-{asked.rows}-{asked.frames}.json"
        if not path.exists():
            try:
                path.write_text(json.dumps(rolled(name, asked.rows, asked.frames)), encoding="utf-8")
            except (HorizonError, RuntimeError) as error:
                print(f"{name} left out: {' '.join(str(error).split())[:160]}", flush=True)
                continue
            print(f"{name} is there", flush=True)
        arms[name] = json.loads(path.read_text(encoding="utf-8"))
    rows = correlations(arms)
    (asked.out / "trust.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    means = {
        name: {truth: float(np.nanmean(_table([arm["interactive" if truth == "recall" else "drift"]], f"true {key}")))
               for truth, key in TRUTHS.items()} for name, arm in arms.items()
    }  # fmt: skip
    print(f"\n{len(arms)} arms, {asked.rows} worlds each, {asked.frames} latent frames\n")
    print(table(rows))
    print("\ntrue means: " + json.dumps(means))


if __name__ == "__main__":
    main()
