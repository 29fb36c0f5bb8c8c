"""A finding of a gate as cells of a table, and the signs of its states."""

from __future__ import annotations

import numpy as np

from reports.gate.verdicts import Finding, State
from reports.sheets.cost import in_bytes

SIGNS: dict[State, str] = {
    "pass": "✓", "improved": "▲", "no_baseline": "+", "inconclusive": "?", "mismatch": "≠", "infra_error": "!",
    "regression": "✗",
}  # fmt: skip
MEANINGS: dict[State, str] = {
    "pass": "pass", "improved": "improved", "no_baseline": "new", "inconclusive": "inconclusive",
    "mismatch": "not comparable", "infra_error": "an error of the machine", "regression": "regression",
}  # fmt: skip
SIGNED = [f"{SIGNS[state]} {meaning}" for state, meaning in MEANINGS.items()]
HEADS = ("", "strategy", "metric", "scenario", "n", "baseline", "now", "worse by", "allowed")


def row(finding: Finding) -> list[str]:
    """Return the cells of a finding under `HEADS`."""
    numbers = [_number(finding, finding.base), _number(finding, finding.head), worse_by(finding), allowed(finding)]
    metric = finding.metric or finding.suite
    if finding.reason:
        numbers[2:] = finding.reason, ""
    told = "" if finding.margin.gated else ", not gated"
    return [SIGNS[finding.state], finding.arm, f"{metric}{told}", finding.scenario, finding.behind, *numbers]


def _number(finding: Finding, value: float) -> str:
    if not np.isfinite(value):
        return ""
    if finding.unit.startswith("B"):
        return in_bytes(value)
    return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"


def worse_by(finding: Finding) -> str:
    """Return the paired difference with its interval; empty where there is none."""
    loss = finding.loss
    if not np.isfinite(loss.mean):
        return ""
    scale = 100 if finding.relative else 1

    def said(value: float) -> str:
        if finding.relative or not finding.unit.startswith("B"):
            return f"{scale * value + 0.0:+.{1 if finding.relative else 3}f}"
        return f"{'+' if value >= 0 else '-'}{in_bytes(abs(value))}"

    unit = " %" if finding.relative else ""
    if loss.low == loss.high:
        return f"{said(loss.mean)}{unit}"
    if not np.isfinite(loss.low):
        return f"{said(loss.mean)}{unit} (one repeat)"
    return f"{said(loss.mean)}{unit} ({said(loss.low)} to {said(loss.high)})"


def allowed(finding: Finding) -> str:
    """Return the margin; empty for a finding that is no number."""
    margin, parts = finding.margin, []
    if finding.metric == "":
        return ""
    if margin.relative:
        parts.append(f"{100 * margin.relative:g} %")
    if margin.absolute or not margin.relative:
        size = in_bytes(margin.absolute) if finding.unit.startswith("B") else f"{margin.absolute:g}"
        parts.append(f"{size} {finding.unit if not finding.unit.startswith('B') else ''}".strip())
    return " and ".join(parts)
