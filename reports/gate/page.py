"""Output of a gate: gate.json for machines, junit.xml for CI, gate.md for a pull request or a job's summary, gate.html
with tables that sort, and the terminal's table."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from harness.escaping import markdown as plain
from harness.escaping import markdown_row, xml
from harness.files import write_text
from reports.gate.rows import HEADS, SIGNED, SIGNS, row, worse_by
from reports.gate.summary import in_signs, in_words, webpage
from reports.gate.verdicts import EXIT, State, Verdict
from reports.sheets.sheet import Sheet

LOUD: tuple[State, ...] = ("regression", "infra_error", "mismatch", "inconclusive", "improved", "no_baseline")
RULE = (
    'n: rollouts or repeats that both runs have; "2 of 4" where one of them lacks some. worse by: 95 % interval of '
    "the paired difference; a minus is better. A regression is significant over all gated numbers "
    "(Benjamini-Hochberg, 5 %) and exceeds what is allowed; to pass, the whole interval must lie within it."
)


def write(verdict: Verdict, folder: Path, code: int | None = None) -> list[Path]:
    """Write gate.md, gate.json, junit.xml and gate.html into a folder and return their paths. code: the command's exit
    code."""
    whole = {**as_json(verdict), "exit_code": EXIT[verdict.state] if code is None else code}
    texts = {
        "gate.md": markdown(verdict),
        # A path may contain bytes that are not UTF-8; JSON can escape them.
        "gate.json": json.dumps(whole, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
        + "\n",
        "junit.xml": junit(verdict),
        "gate.html": html(verdict),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def headline(verdict: Verdict) -> str:
    """Return one line: the state and its reasons."""
    state = verdict.state
    if verdict.differences:
        return f"{state}: not comparable with the baseline ({'; '.join(verdict.differences)})"
    if not verdict.findings:
        return f"{state}: no number that a gate judges is in either"
    found = verdict.of(state)
    count = Counter(finding.state for finding in verdict.findings if finding.margin.gated)
    whole = ", ".join(f"{number} {name}" for name, number in count.most_common())
    if state == "pass" or not found:
        return f"{state}: {whole or 'nothing to compare'}"
    named = "; ".join(finding.place for finding in found[:3]) + ("; ..." if len(found) > 3 else "")
    return f"{state}: {named} ({whole})"


def sheet(verdict: Verdict, *, everything: bool = False) -> Sheet:
    """Return the gate's table: findings other than a pass, and one line for all new numbers of a strategy; with
    `everything`, all findings, including those that are not gated."""
    made = Sheet("", list(HEADS))
    states: tuple[State, ...] = (*LOUD, "pass") if everything else LOUD
    for state in states:
        shown = [each for each in verdict.findings if each.state == state and (everything or each.margin.gated)]
        if state == "no_baseline" and not everything:
            new = Counter(finding.arm for finding in shown)
            made.rows += [
                [SIGNS[state], arm, f"{count} numbers", "", "", "", "", "new: not in the baseline", ""]
                for arm, count in new.items()
            ]
        else:
            made.rows += [row(finding) for finding in shown]
    return made


def html(verdict: Verdict) -> str:
    """Return gate.html, one file that works offline."""
    lines = [
        _sides(verdict),
        f"{headline(verdict)}.",
        *(f"Differs from the baseline: {note}" for note in verdict.notes),
    ]
    title = f"Gate: {SIGNS[verdict.state]} {verdict.state.replace('_', ' ')}"
    return webpage(verdict, title, lines, RULE)


def markdown(verdict: Verdict) -> str:
    """Return the page for a pull request or a job's summary: what is worse, the state of every number of each strategy,
    what is not a pass, and everything else folded."""
    lines = [
        f"# Gate: {SIGNS[verdict.state]} {verdict.state}",
        "",
        plain(headline(verdict)) + ".",
        "",
        plain(_sides(verdict)),
    ]
    words = in_words(verdict)
    lines += ["", *words] * bool(words)
    loud = sheet(verdict)
    signs = in_signs(verdict)
    if signs:
        lines += ["", *signs, "", " · ".join(SIGNED)]
    if loud.rows:
        lines += ["", *_table(loud)]
    told = sheet(verdict, everything=True)
    if told.rows:
        summary = f"<details><summary>all {len(told.rows)} numbers</summary>"
        lines += ["", summary, "", *_table(told), "", "</details>"]
    if verdict.notes:
        lines += ["", "Differs from the baseline:", "", *(f"- {plain(note)}" for note in verdict.notes)]
    lines += ["", RULE]
    return "\n".join(lines) + "\n"


def _sides(verdict: Verdict) -> str:
    """Return which run was compared with which."""
    how = "measured in turn" if verdict.together else "measured at another time"
    return f"This run ({verdict.head.commit}) against the baseline ({verdict.base.commit}{_accepted(verdict)}), {how}."


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as JSON data."""
    return {
        "state": verdict.state,
        "headline": headline(verdict),
        "together": verdict.together,
        "differences": list(verdict.differences),
        "notes": list(verdict.notes),
        **{
            side: {
                "source": str(evidence.source),
                "commit": evidence.commit,
                "cohort": evidence.cohort(),
                "accepted": list(evidence.accepted)[-1:],
            }
            for side, evidence in (("head", verdict.head), ("base", verdict.base))
        },
        "findings": [_plain(asdict(finding)) for finding in verdict.findings],
    }


def junit(verdict: Verdict) -> str:
    """Return test cases: one a gated number, named by strategy, suite, scenario and metric."""
    gated = [finding for finding in verdict.findings if finding.margin.gated]
    suite = ET.Element("testsuite", name="horizon gate", time="0")
    kinds = {"regression": "failure", "infra_error": "error", "mismatch": "error"}
    kinds |= {"inconclusive": "skipped", "no_baseline": "skipped"}
    count: Counter[str] = Counter()
    if verdict.differences:
        case = ET.SubElement(suite, "testcase", classname="gate", name="cohort", time="0")
        ET.SubElement(case, "error", message=xml("; ".join(verdict.differences)))
        count["error"] += 1
    for finding in gated:
        name = ".".join(part for part in (finding.suite, finding.scenario, finding.metric) if part)
        case = ET.SubElement(suite, "testcase", classname=xml(finding.arm), name=xml(name), time="0")
        kind = kinds.get(finding.state)
        if kind:
            ET.SubElement(case, kind, message=xml(f"{finding.state}: {finding.reason or worse_by(finding)}"))
            count[kind] += 1
    suite.set("tests", str(len(suite)))
    for kind, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(name, str(count[kind]))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _accepted(verdict: Verdict) -> str:
    if not verdict.base.accepted:
        return ""
    last = verdict.base.accepted[-1]
    return f", accepted {last['when'][:10]} by {last['who']}: {last['why']}"


def _table(shown: Sheet) -> list[str]:
    return [markdown_row(shown.heads), f"|{'---|' * len(shown.heads)}", *map(markdown_row, shown.rows)]


def _plain(value: Any) -> Any:
    """Return a value with NaN and infinity replaced, which JSON cannot represent."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
