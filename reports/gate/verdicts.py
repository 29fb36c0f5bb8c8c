"""Verdicts: whether a run is worse than its baseline by enough to matter and by more than chance explains.

A number is a regression when it is worse both significantly (its paired difference is not zero, over the whole family
of gated numbers) and materially (by more than its margin). It passes when it is shown to be no worse than its margin
allows; the absence of a significant difference is not enough. Everything else is inconclusive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from harness.suite import Margin
from reports.gate.evidence import Evidence
from reports.gate.missing import Numbers
from reports.gate.policy import Policy
from reports.statistics.bootstrap import LEVEL, Interval, adjusted, apart, change

State = Literal["pass", "improved", "no_baseline", "inconclusive", "mismatch", "infra_error", "regression"]
"""States of a number, or of all of them; the last is the worst."""
EXIT: Mapping[State, int] = {
    "pass": 0, "improved": 0, "no_baseline": 0, "inconclusive": 0, "mismatch": 2, "infra_error": 2, "regression": 1,
}  # fmt: skip
"""Exit codes of the command, by state."""
WHATEVER, UNKNOWN = Margin(), Interval(np.nan, np.nan, np.nan, 0)
BROKEN = ("nan", "oom")
"""Statuses of a cell that the code causes; others may be caused by the machine."""


@dataclass(frozen=True)
class Finding:
    """The gate's finding on one metric of one arm in one scenario.

    base, head: means. loss: how much worse the head is (positive is worse); a share of the base where `relative`, else
    in the metric's unit. p: over the family (Benjamini-Hochberg). metric is empty for cells without numbers. count, of:
    rollouts (or repeats) that both runs have and the numbers are over, and their number in all.
    """

    arm: str
    suite: str
    scenario: str
    state: State
    reason: str = ""
    metric: str = ""
    unit: str = ""
    better: str = ""
    horizon_seconds: float = np.nan
    margin: Margin = WHATEVER
    base: float = np.nan
    head: float = np.nan
    loss: Interval = UNKNOWN
    relative: bool = False
    p: float = np.nan
    count: int = 0
    of: int = 0

    @property
    def behind(self) -> str:
        """The count of rollouts in words; empty where there are none."""
        if not self.count:
            return ""
        return str(self.count) if self.count == self.of else f"{self.count} of {self.of}"

    @property
    def place(self) -> str:
        """Arm, scenario and metric in words."""
        return f"{self.arm}: {self.metric or self.suite} in {self.scenario}"


@dataclass(frozen=True)
class Verdict:
    """All findings, gated and not. differences: why the two runs cannot be compared at all."""

    head: Evidence
    base: Evidence
    findings: Sequence[Finding]
    differences: Sequence[str] = ()
    together: bool = False
    """Whether repeats of the two were measured in turn."""
    notes: Sequence[str] = field(default=())

    @property
    def state(self) -> State:
        """The worst state of anything gated; "mismatch" where nothing could be compared."""
        if self.differences or not self.findings:
            return "mismatch"
        states = {finding.state for finding in self.findings if finding.margin.gated}
        return max(states, key=get_args(State).index, default="no_baseline")

    def of(self, *states: State) -> list[Finding]:
        """Return the gated findings of these states."""
        return [finding for finding in self.findings if finding.margin.gated and finding.state in states]


@np.errstate(over="ignore", invalid="ignore")  # Numbers near the largest float have no finite mean.
def judge(head: Evidence, base: Evidence, policy: Policy) -> Verdict:
    """Compare a run with its baseline, metric by metric, each at its longest horizon.

    Repeats of cost suites are paired where both runs were measured in turn (they share the manifest's "beside"), and
    compared by Welch's test otherwise; rollouts are always paired by prompt and seed.
    """
    one, other = head.cohort(), base.cohort()
    differences = [f"{key}: {_short(one[key])}, baseline {_short(other[key])}" for key in one if one[key] != other[key]]
    # A run with numbers of two environments cannot be compared, even if the baseline has the same mixture.
    differences += [
        f"{who} was measured in two environments: {what}"
        for who, side in (("this run", head), ("the baseline", base))
        for what in side.mixed
    ]
    beside = head.manifest.get("beside")
    together = beside is not None and beside == base.manifest.get("beside")
    if differences:
        return Verdict(head, base, (), differences, together)
    findings = [*_broken(head, base), *_compared(head, base, policy, together)]
    return Verdict(head, base, settled(findings), (), together, _notes(head, base))


def _compared(head: Evidence, base: Evidence, policy: Policy, together: bool) -> Iterator[Finding]:
    keys = ["arm", "suite", "scenario", "metric"]
    judged = pd.MultiIndex.from_tuples(policy, names=["suite", "metric"])
    parts = []
    for evidence in (head, base):
        scores = evidence.scores
        mine = scores[pd.MultiIndex.from_frame(scores[["suite", "metric"]]).isin(judged)]
        parts.append(dict(list(mine.groupby(keys, observed=True, sort=True))))
    mine, theirs = parts
    versions, known = head.suites(), base.suites()
    failed, before = ({trouble.place for trouble in evidence.troubles} for evidence in (head, base))
    shown = {key: set(part["seed"]) for key, part in head.scores.groupby(keys[:3], observed=True)}
    for key in dict.fromkeys((*mine, *theirs)):
        arm, suite, scenario, metric = key
        found = Finding(arm, suite, scenario, "no_baseline", metric=metric, margin=policy[suite, metric])
        if key not in mine:
            # A failed cell is reported once, not for each of its metrics.
            if key[:3] not in failed:
                yield replace(found, state="mismatch", reason="in the baseline but not in this run")
            continue
        rows = mine[key]
        frames = rows["horizon_latent_frames"].max()
        first = rows[rows["horizon_latent_frames"] == frames].iloc[0]
        rows = at_its_end(rows)
        found = replace(found, unit=first["unit"], better=first["better"], horizon_seconds=first["horizon_seconds"])
        if versions.get(suite) != known.get(suite, versions.get(suite)):
            yield replace(found, state="mismatch", reason="the suite is of another version")
            continue
        others = theirs.get(key, rows.iloc[:0])
        if len(others) and others["horizon_latent_frames"].max() != frames:
            longest = others["horizon_seconds"].max()
            reason = f"after {first['horizon_seconds']:g} s; in the baseline after {longest:g} s"
            yield replace(found, state="mismatch", reason=reason)
            continue
        others = at_its_end(others)
        if others.empty:
            if key[:3] not in before:
                yield replace(found, head=float(rows["value"].mean()), reason="new: not in the baseline")
            continue
        yield _measured(found, rows, others, together, shown[key[:3]])


def at_its_end(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of each rollout at its own longest horizon: films may be of several lengths."""
    if rows["horizon_latent_frames"].nunique() < 2:
        return rows
    longest = rows.groupby(["prompt", "seed", "repeat"], observed=True)["horizon_latent_frames"].transform("max")
    return rows[rows["horizon_latent_frames"] == longest]


def _measured(found: Finding, rows: pd.DataFrame, others: pd.DataFrame, together: bool, shown: set[int]) -> Finding:
    keys = ["prompt", "seed", "horizon_latent_frames"]
    both = rows.merge(others, on=keys, suffixes=("", "_base"), how="inner").dropna(subset=["value", "value_base"])
    whole = len({*rows[keys].itertuples(index=False, name=None), *others[keys].itertuples(index=False, name=None)})
    # A rollout that exists but has lost this number must not drop out of the comparison.
    had = others[others["seed"].isin(shown)].dropna(subset=["value"])
    if len(had) > len(both):
        lost = f"{len(had) - len(both)} of {len(had)} rollouts have no value any more"
        return replace(found, state="mismatch", reason=lost)
    repeated = bool(rows["repeat"].any() or others["repeat"].any())
    if repeated and not together:
        mine, theirs = (side["value"].dropna().to_numpy(float) for side in (rows, others))
        pairs, count = None, min(len(mine), len(theirs))
        whole = count
    else:
        mine, theirs = both["value"].to_numpy(float), both["value_base"].to_numpy(float)
        pairs = both["seed"].to_numpy(), both["repeat"].to_numpy() if repeated else np.zeros(len(both), int)
        count = len(both)
    if not len(mine) or not len(theirs):
        return replace(found, state="mismatch", reason="no rollout has a value in both")
    return weighed(replace(found, count=count, of=whole), mine, theirs, pairs)


def weighed(
    found: Finding, mine: np.ndarray, theirs: np.ndarray, pairs: tuple[np.ndarray, np.ndarray] | None
) -> Finding:
    """Return a finding with its numbers and its own state, before the family is considered.

    mine, theirs: values of the run and of the baseline. pairs: seed and launch of each value, where values of the run
    and of the baseline are paired; None where they are not.
    """
    sign = -1 if found.better == "higher" else 1
    relative = found.margin.relative > 0 and mine.min() > 0 and theirs.min() > 0

    def loss(mine: np.ndarray, theirs: np.ndarray) -> Interval:
        if pairs is None:
            off = apart(mine, theirs)
            return off if sign > 0 else replace(off, mean=-off.mean, low=-off.high, high=-off.low)
        return change(sign * (mine - theirs), *pairs)

    absolute = loss(mine, theirs)
    share = absolute
    if relative:
        share = loss(np.log(mine), np.log(theirs))
        mean, low, high = (float(np.expm1(each)) for each in (share.mean, share.low, share.high))
        share = replace(share, mean=mean, low=low, high=high)
    margin = found.margin
    # A change within its margin, relative or absolute, is not material.
    small = absolute.high <= margin.absolute or (relative and share.high <= margin.relative)
    large = absolute.mean > margin.absolute and (not relative or share.mean > margin.relative)
    gain = absolute.mean < -margin.absolute and (not relative or share.mean < -margin.relative)
    state: State = "pass" if small else "regression" if large and share.low > 0 else "inconclusive"
    if gain and share.high < 0:
        state = "improved"
    return replace(
        found, state=state, base=float(theirs.mean()), head=float(mine.mean()), loss=share, relative=relative, p=share.p
    )


def unsure(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings that more repeats may settle. A regression of a varying number is measured again before it is
    reported."""
    return [
        each
        for each in findings
        if each.margin.gated
        and each.metric
        and (each.state == "inconclusive" or (each.state == "regression" and each.loss.low < each.loss.high))
    ]


def settled(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with p over the whole family: one that is not significant in it is neither a regression nor
    an improvement.

    Numbers without any difference could not become significant and are not part of the family (Tarone, 1990).
    """
    family = [place for place, each in enumerate(findings) if each.margin.gated and each.p < 1]
    found = list(findings)
    for place, p in zip(family, adjusted([findings[place].p for place in family]), strict=True):
        each = replace(found[place], p=float(p))
        if p >= 1 - LEVEL and each.state == "regression":
            each = replace(each, state="inconclusive")
        if p >= 1 - LEVEL and each.state == "improved":
            each = replace(each, state="pass")
        found[place] = each
    return found


def _broken(head: Evidence, base: Evidence) -> Iterator[Finding]:
    """Yield a finding for each cell without numbers; a film that failed in the baseline does not excuse another film.
    Cells with the same finding are reported once."""
    counts: Counter[tuple[str, str, str, State, str]] = Counter()
    before, now = Numbers(base), Numbers(head)
    for trouble in head.troubles:
        known = before.lack(trouble)
        fault = trouble.status in BROKEN and not known
        why = f"{trouble.status}: {trouble.reason}" + (" (in the baseline too)" if known else "")
        counts[*trouble.place, "regression" if fault else "infra_error", why] += 1
    for trouble in base.troubles:
        if not now.lack(trouble):
            state: State = "no_baseline" if trouble.status in BROKEN else "infra_error"
            counts[*trouble.place, state, f"the baseline has no numbers ({trouble.status}: {trouble.reason})"] += 1
    for (arm, suite, scenario, verdict, why), count in counts.items():
        yield Finding(arm, suite, scenario, verdict, why + (f" ({count} cells)" if count > 1 else ""))


def _notes(head: Evidence, base: Evidence) -> list[str]:
    """Return possible explanations of a difference: knobs and parameters that differ from the baseline's."""
    notes = []
    before = {arm["label"]: arm for arm in base.manifest["asked"]["arms"]}
    for arm in head.manifest["asked"]["arms"]:
        old = before.get(arm["label"])
        if old is None:
            continue
        names = sorted({*old["knobs"], *arm["knobs"]})
        knobs = [(name, old["knobs"].get(name), arm["knobs"].get(name)) for name in names]
        notes += [f"{arm['label']}: {name} was {was}, is {now}" for name, was, now in knobs if was != now]
        if (old.get("weights") or {}).get("digest") != (arm.get("weights") or {}).get("digest"):
            notes.append(f"{arm['label']}: has other parameters of its own")
    return notes


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
