"""Overview of a gate: the state of every number by strategy, sentences about what is worse, and the page gate.html."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np

from harness.escaping import markdown as plain
from harness.escaping import markdown_row
from reports.gate.rows import HEADS, SIGNED, SIGNS, allowed, row, worse_by
from reports.gate.verdicts import Finding, State, Verdict
from reports.page.grids import Cell, Grid, Head
from reports.page.page import asset, templates
from reports.sheets.sheet import Sheet
from reports.tables import suite_named

FEW = 5
"""Most findings that sentences name."""
WORST_FIRST: Sequence[State] = tuple(reversed(get_args(State)))
SENTENCES = {
    "": f"{', '.join(SIGNED)}.",
    "n": "Rollouts or repeats that both runs have; “2 of 4” where one of them lacks some.",
    "baseline": "The mean of the baseline.",
    "now": "The mean of this run.",
    "worse by": "The paired difference with its 95 % interval; a minus is better.",
    "allowed": "The margin: a regression is significant over all gated numbers and exceeds it; to pass, the whole "
    "interval must lie within it.",
}  # fmt: skip


def overview(verdict: Verdict) -> tuple[list[str], list[tuple[str, list[Finding | None]]]]:
    """Return headings, and by strategy its worst finding under each of them (None where it has no such number)."""
    gated = [finding for finding in verdict.findings if finding.margin.gated and finding.metric]
    names = list(dict.fromkeys(_column(each) for each in gated))
    rows: dict[str, dict[str, Finding]] = {}
    for each in sorted(gated, key=lambda finding: WORST_FIRST.index(finding.state)):
        rows.setdefault(each.arm, {}).setdefault(_column(each), each)
    arms = list(dict.fromkeys(each.arm for each in gated))
    return names, [(arm, [rows[arm].get(name) for name in names]) for arm in arms]


def in_signs(verdict: Verdict) -> list[str]:
    """Return the overview as a Markdown table of signs; nothing for less than two strategies."""
    names, rows = overview(verdict)
    if len(rows) < 2:
        return []
    lines = [markdown_row(["strategy", *names]), f"|---|{':---:|' * len(names)}"]
    return lines + [markdown_row([arm, *(SIGNS[each.state] if each else "" for each in found)]) for arm, found in rows]


def in_words(verdict: Verdict) -> list[str]:
    """Return a list in Markdown: a sentence about each of the first regressions, and how many more there are."""
    found = sorted(verdict.of("regression"), key=lambda each: -each.loss.mean if np.isfinite(each.loss.mean) else 0)
    lines = [f"{x.place}: {x.reason or f'worse by {worse_by(x)}, allowed {allowed(x)}'}" for x in found[:FEW]]
    lines += [f"and {len(found) - FEW} more"] if len(found) > FEW else []
    return [f"- {plain(line)}" for line in lines]


def webpage(verdict: Verdict, title: str, lines: Sequence[str], note: str) -> str:
    """Return gate.html: the overview and all findings, in tables that sort and that are copied like those of a report.

    Parameters
    ----------
    title, lines
        Title of the page, and the lines below it.
    note
        Text below the table of all findings.
    """
    grids = [_overview(verdict), _all(verdict)]
    grids[1].sheet.notes.append(note)
    found = templates().get_template("board.html.j2").render(
        title=title, subtitle=lines[0], sentences=[*lines[1:]], grids=[grid for grid in grids if grid.rows],
        campaigns=[], css=asset("page.css"), code=asset("table.js"),
    )  # fmt: skip
    return str(found)


def _column(finding: Finding) -> str:
    return f"{finding.metric}, {finding.scenario}" if finding.scenario else finding.metric


def _overview(verdict: Verdict) -> Grid:
    names, found = overview(verdict)
    first = [next(each[place] for _, each in found if each[place] is not None) for place in range(len(names))]
    heads = [Head("strategy", "", "The arm. Each cell has its state, and how much worse it is than the baseline.")]
    heads += [
        Head(name, "", _about(finding), better="lower") for name, finding in zip(names, first, strict=True) if finding
    ]
    cells = [[Cell(arm), *(_state(each) if each else Cell("n/a") for each in mine)] for arm, mine in found]
    return Grid("overview", Sheet("Each strategy against the baseline", []), [arm for arm, _ in found], heads, cells)


def _all(verdict: Verdict) -> Grid:
    findings = sorted(verdict.findings, key=lambda each: WORST_FIRST.index(each.state))
    order = [1, 0, *range(2, len(HEADS))]
    made = []
    for each in findings:
        texts = row(each)
        values = {5: each.base, 6: each.head, 7: each.loss.mean, 0: float(WORST_FIRST.index(each.state))}
        cells = [Cell(texts[at], _finite(values.get(at))) for at in order]
        cells[1].text = f"{texts[0]} {each.state.replace('_', ' ')}"
        made.append(cells)
    titles = [Head(HEADS[at] or "state", "", SENTENCES.get(HEADS[at], ""), better="lower") for at in order]
    return Grid("everything", Sheet("All numbers", []), [each.arm for each in findings], titles, made)


def _state(finding: Finding) -> Cell:
    told = finding.reason or worse_by(finding)
    return Cell(f"{SIGNS[finding.state]} {told}".strip(), _finite(finding.loss.mean))


def _about(finding: Finding) -> str:
    metric = suite_named(finding.suite).metric_named(finding.metric)
    about = (metric.about if metric else "") or finding.metric.replace("_", " ")
    unit = f", {finding.unit}" if finding.unit else ""
    return f"{about[:1].upper()}{about[1:]}{unit}; suite {finding.suite}. Worse by: {SENTENCES['worse by']}"


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
