"""Calibration of the gate: runs of the same code are compared with each other. They tell the noise of each number, the
gate's rate of false alarms, the smallest change that it finds, and the margins that the noise requires."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from harness.errors import BaselineError
from harness.escaping import markdown as plain
from harness.escaping import markdown_row
from harness.files import write_text
from harness.suite import Margin
from reports.gate.evidence import Evidence
from reports.gate.policy import Policy, written
from reports.gate.verdicts import Finding, settled, unsure, weighed
from reports.statistics.bootstrap import LEVEL

Key = tuple[str, str, str, str]
"""Arm, suite, scenario, metric."""
LADDER = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Margins that may be proposed."""
RARE = 0.999
"""Share of gates on unchanged code that a proposed margin must tolerate."""
OFTEN = 0.9
"""Share of gates that must find a change for it to be called detectable."""


@dataclass(frozen=True)
class Noise:
    """Noise of one metric: the values of the strategy with the largest noise.

    spread: standard deviation of the difference between two launches (a share of the number where `relative`).
    moved: largest deviation of a gate's mean by chance, in all but one of a thousand gates. detectable: the smallest
    loss that nine in ten gates find; None where they find none of those tried. proposed: the margin for this noise.
    """

    suite: str
    metric: str
    unit: str
    relative: bool
    launches: int
    spread: float
    moved: float
    detectable: float | None
    margin: Margin
    proposed: Margin


@dataclass(frozen=True)
class Calibration:
    """runs: real gates of the same code, by state. gates: simulated ones, by state. alarms: false regressions."""

    noises: Sequence[Noise]
    runs: Mapping[str, int]
    gates: Mapping[str, int]
    alarms: Mapping[str, int]
    rounds: int

    @property
    def false_alarms(self) -> float:
        """Share of simulated gates that found a regression."""
        return self.gates.get("regression", 0) / max(1, sum(self.gates.values()))


class _Pool:
    """Paired values of one number in all runs: one entry a launch, each with the values and their seeds."""

    def __init__(self, key: Key, part: pd.DataFrame, margin: Margin) -> None:
        first = part.iloc[0]
        self.finding = Finding(
            *key[:3], "pass", metric=key[3], margin=margin, unit=first["unit"], better=first["better"]
        )
        # Rollouts of one process stay together, because they share its noise.
        self.launches = [
            (each["value"].to_numpy(float), each["value_base"].to_numpy(float), each["seed"].to_numpy())
            for _, each in part.groupby(["run", "repeat"])
        ]
        self.repeats = max(1, part.groupby("run")["repeat"].nunique().max())

    def weighed(self, drawn: np.ndarray, turned: np.ndarray, worse: float = 0.0) -> Finding:
        """Return a gate's finding on these launches, with base and head exchanged where `turned`.

        worse: loss that is added to the head.
        """
        parts = [self.launches[place % len(self.launches)] for place in drawn]
        pairs = [(b, a) if turn else (a, b) for (a, b, _), turn in zip(parts, turned, strict=True)]
        mine, theirs = (np.concatenate(side) for side in zip(*pairs, strict=True))
        seeds = np.concatenate([seed for *_, seed in parts])
        launch = np.repeat(np.arange(len(parts)), [len(seed) for *_, seed in parts])
        if worse:
            sign = -1 if self.finding.better == "higher" else 1
            relative = self.finding.margin.relative > 0
            mine = mine * (1 + worse) ** sign if relative else mine + sign * worse
        return weighed(self.finding, mine, theirs, (seeds, launch))


def calibrate(
    pairs: Sequence[tuple[Evidence, Evidence]],
    states: Iterable[str],
    policy: Policy,
    gates: int = 1000,
    rounds: int = 2,
) -> Calibration:
    """Return the calibration from runs of the same code, (head, base) each, and the states of their verdicts.

    Gates are simulated by drawing recorded launches, the same for all strategies, with base and head exchanged at
    random; undecided numbers get a further round.
    Raises BaselineError where the runs have no number that a gate judges.
    """
    pools = _pools(pairs, policy)
    if not pools:
        raise BaselineError("nothing in these runs that a gate looks at; give the folders of `horizon gate` runs")
    rng = np.random.default_rng(0)
    found, alarms = {"pass": 0}, dict[str, int]()
    for _ in range(gates):
        findings = _gate(pools, rng, rounds)
        named = [each for each in findings if each.state == "regression" and each.margin.gated]
        state = "regression" if named else "inconclusive" if unsure(findings) else "pass"
        found[state] = found.get(state, 0) + 1
        for finding in named:
            alarms[finding.place] = alarms.get(finding.place, 0) + 1
    counted: dict[str, int] = {}
    for state in states:
        counted[state] = counted.get(state, 0) + 1
    metrics = dict.fromkeys((key[1], key[3]) for key in pools)
    family = len([pool for pool in pools.values() if pool.finding.margin.gated])
    noises = [
        _noise([pool for key, pool in pools.items() if (key[1], key[3]) == metric], rng, family) for metric in metrics
    ]
    return Calibration(noises, counted, found, alarms, rounds)


def write(found: Calibration, folder: Path) -> list[Path]:
    """Write aa.md, aa.json and policy.toml, which has the proposed margins."""
    policy = {(noise.suite, noise.metric): noise.proposed for noise in found.noises}
    about = f"Margins by {sum(found.runs.values())} runs of the same code against itself.\nUse: horizon gate --policy"
    texts = {
        "aa.md": markdown(found),
        "aa.json": json.dumps({**asdict(found), "false_alarms": found.false_alarms}, indent=1) + "\n",
        "policy.toml": written(policy, about),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def rows(found: Calibration) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of the table."""
    heads = ["metric", "launches", "between two launches", "a gate is off by", "finds", "margin", "proposed"]
    return heads, [
        [
            f"{noise.suite}.{noise.metric}" + ("" if noise.margin.gated else ", not gated"),
            str(noise.launches),
            _said(noise, noise.spread),
            _said(noise, noise.moved),
            "none of those tried" if noise.detectable is None else _said(noise, noise.detectable),
            _said(noise, noise.margin.relative if noise.relative else noise.margin.absolute),
            _said(noise, noise.proposed.relative if noise.relative else noise.proposed.absolute),
        ]
        for noise in found.noises
    ]


def headline(found: Calibration) -> str:
    """Return the false-alarm rate in one line."""
    real = ", ".join(f"{count} {state}" for state, count in sorted(found.runs.items()))
    made = ", ".join(f"{count} {state}" for state, count in sorted(found.gates.items()))
    return f"real gates of the same code: {real}; simulated from them: {made} ({found.false_alarms:.2%} false alarms)"


def markdown(found: Calibration) -> str:
    """Return the page."""
    heads, lines = rows(found)
    table = [markdown_row(heads), f"|{'---|' * len(heads)}", *map(markdown_row, lines)]
    alarms = [f"- {plain(place)}: {count}" for place, count in sorted(found.alarms.items())]
    return "\n".join([
        "# The same code against itself", "", plain(headline(found)) + ".", "", *table, "",
        f"Each metric shows its noisiest strategy. between two launches: standard deviation. a gate is off by: in all "
        f"but one of {1 / (1 - RARE):.0f} gates. finds: the smallest loss that {OFTEN:.0%} of gates call a regression.",
        *(["", "Called worse by chance:", "", *alarms] if alarms else []),
    ]) + "\n"  # fmt: skip


def _pools(pairs: Sequence[tuple[Evidence, Evidence]], policy: Policy) -> dict[Key, _Pool]:
    keys, parts = ["arm", "suite", "scenario", "metric"], []
    for run, (head, base) in enumerate(pairs):
        both = head.scores.merge(
            base.scores, on=[*keys, "horizon_latent_frames", "prompt", "seed", "repeat"], suffixes=("", "_base")
        )
        parts.append(both.assign(run=run).dropna(subset=["value", "value_base"]))
    whole = pd.concat(parts) if parts else pd.DataFrame(columns=keys)
    found = {}
    for key, part in whole.groupby(keys, observed=True, sort=True):
        margin = policy.get((key[1], key[3]))
        if margin is not None:
            longest = part[part["horizon_latent_frames"] == part["horizon_latent_frames"].max()]
            # Later rounds cover some strategies only; launches of all strategies are in the first round.
            first = longest["seed"] // 1000 == longest["seed"].min() // 1000
            found[key] = _Pool(key, longest[first], margin)
    return found


def _gate(pools: Mapping[Key, _Pool], rng: np.random.Generator, rounds: int) -> list[Finding]:
    """Return the findings of one simulated gate, with further rounds for undecided numbers."""
    # The same launches are drawn for all strategies of a suite, so that noise of a shared process stays shared.
    suites = {key[1]: pool.repeats for key, pool in pools.items()}
    drawn = {suite: rng.integers(0, 1_000_000, (rounds, repeats)) for suite, repeats in suites.items()}
    turned = {suite: rng.random((rounds, repeats)) < 0.5 for suite, repeats in suites.items()}
    reached = dict.fromkeys(pools, 1)
    while True:
        findings = settled([
            pool.weighed(drawn[key[1]][: reached[key]].ravel(), turned[key[1]][: reached[key]].ravel())
            for key, pool in pools.items()
        ])  # fmt: skip
        left = {(finding.arm, finding.suite) for finding in unsure(findings)}
        again = [key for key in pools if key[:2] in left and reached[key] < rounds]
        if not again:
            return findings
        for key in again:
            reached[key] += 1


def _noise(pools: Sequence[_Pool], rng: np.random.Generator, family: int) -> Noise:
    """Return the noise of one metric, taken from its noisiest strategy."""
    first = pools[0].finding
    relative = first.margin.relative > 0
    worst, spread, moved = pools[0], -1.0, 0.0
    for pool in pools:
        values = np.array([_off(mine, theirs, relative) for mine, theirs, _ in pool.launches])
        if values.std() > spread:
            worst, spread = pool, float(values.std())
        means = [abs(_shown(pool, rng).loss.mean) for _ in range(400)] if np.ptp(values) > 0 else [abs(values[0])]
        moved = max(moved, float(np.quantile(means, RARE)))
    margin = first.margin
    step = next((step for step in _steps(first) if step >= moved), moved)
    proposed = replace(margin, relative=step) if relative else replace(margin, absolute=step)
    # Without noise any margin works, so the margin that was chosen by hand stays.
    proposed = margin if moved == 0 else proposed
    return Noise(
        suite=first.suite, metric=first.metric, unit=first.unit, relative=relative, launches=len(worst.launches),
        spread=spread, moved=moved, detectable=_detectable(worst, rng, family), margin=margin, proposed=proposed,
    )  # fmt: skip


def _detectable(pool: _Pool, rng: np.random.Generator, family: int, tries: int = 200) -> float | None:
    margin = pool.finding.margin
    floor = margin.relative or margin.absolute
    for step in _steps(pool.finding):
        if step > floor:
            found = [_shown(pool, rng, step) for _ in range(tries)]
            hits = [each.state == "regression" and each.p * family < 1 - LEVEL for each in found]
            if np.mean(hits) >= OFTEN:
                return float(step)
    return None


def _steps(finding: Finding) -> Sequence[float]:
    """Return the losses to try: shares, or in the metric's unit fractions and multiples of its margin."""
    margin = finding.margin
    if margin.relative or finding.unit == "share":
        return LADDER
    return [margin.absolute * share for share in (0.1, 0.2, 0.5, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)]


def _shown(pool: _Pool, rng: np.random.Generator, worse: float = 0.0) -> Finding:
    """Return the finding of one simulated gate on a number, with two rounds where the number varies."""
    count = 2 * pool.repeats if pool.repeats > 1 else 1
    return pool.weighed(rng.integers(0, len(pool.launches), count), rng.random(count) < 0.5, worse)


def _off(mine: np.ndarray, theirs: np.ndarray, relative: bool) -> float:
    if relative and mine.min() > 0 and theirs.min() > 0:
        return float(np.log(mine.mean() / theirs.mean()))
    return float((mine - theirs).mean())


def _said(noise: Noise, value: float) -> str:
    if noise.relative:
        return f"{100 * value:.2g} %"
    return f"{value:.3g}" + ("" if noise.unit == "share" else f" {noise.unit}")
