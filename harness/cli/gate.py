"""The commands that judge: `horizon gate | baseline | aa | history`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from harness.cli.terminal import Json, app, console, print_json, table
from harness.errors import BaselineError

if TYPE_CHECKING:
    from harness.campaign import Campaign
    from harness.rounds import Rounds
    from reports.evidence import Evidence
    from reports.gate import Finding, Verdict

OUT = Path("runs/gate")
HEAD = "head.parquet"
"""What a gate keeps of the run that it judged; `horizon baseline accept` reads it."""
DEFAULT = {"suites": ["drift", "interactive", "latency", "vram"], "tier": "gate", "equal_budget": 0}
"""The campaign of a gate that is given none."""
ROUNDS = 4
"""Most rounds of repeats for what stays unsure."""
COLOURS = {"regression": "bold red", "infra_error": "red", "mismatch": "red", "inconclusive": "yellow", "pass": "green",
           "improved": "green"}  # fmt: skip

baselines = typer.Typer(add_completion=False, rich_markup_mode=None)
app.add_typer(baselines, name="baseline", help="Keep a run as what later ones are compared with.")


@app.command()
def gate(
    run: Annotated[Path, typer.Argument(help="A campaign's folder; with --against or --measure: what is made.")] = OUT,
    against: Annotated[
        str | None, typer.Option(help="Measure this commit, branch or checkout beside this one, in turn.")
    ] = None,
    baseline: Annotated[Path | None, typer.Option(help="A run's folder, or a file of `horizon baseline`.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="With --baseline: measure this code first.")] = False,
    campaign: Annotated[Path | None, typer.Option(help="A TOML file. Default: every strategy, tier gate.")] = None,
    strategy: Annotated[list[str] | None, typer.Option(help="NAME[.KNOB=VALUE,...]; repeat. Default: all.")] = None,
    policy: Annotated[Path | None, typer.Option(help="A TOML file of margins; default: those of the suites.")] = None,
    minutes: Annotated[float, typer.Option(min=0, help="Time for measuring; more repeats while there is some.")] = 6.0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes for quality. Default: up to 4.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each process.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on inconclusive, too.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where gate.md, junit.xml, gate.json go. Default: RUN.")] = None,
    as_json: Json = False,
) -> None:
    """Is a run worse than its baseline, in quality, speed or memory? 0: no. 1: yes. 2: they cannot be compared."""
    from harness import turns
    from harness.rounds import Rounds
    from reports.evidence import read, save
    from reports.gate import EXIT
    from reports.gate_page import write

    if (against is None) == (baseline is None):
        raise BaselineError("give either --against (a commit, branch or checkout) or --baseline (a folder or file)")
    if against is None and not measure:
        assert baseline is not None
        base = read(baseline)
        verdict = _judged(read(run), base, policy)
    else:
        root = Path(__file__).parents[2]
        trees = {"head": turns.tree(root)}
        if against is not None:
            trees["base"] = turns.checked_out(against, root, run / "trees")
        rounds = Rounds(run, trees, workers or min(4, os.cpu_count() or 1), threads, console.print)
        verdict = _measured(rounds, _campaign(campaign, strategy), baseline, policy, 60 * minutes)
        save(verdict.head, run / HEAD)
    written = write(verdict, out or run)
    code = 1 if strict and verdict.state == "inconclusive" else EXIT[verdict.state]
    if as_json:
        print(written[1].read_text(), end="")
    else:
        _tell(verdict, written)
    raise typer.Exit(code)


@baselines.command()
def accept(
    run: Annotated[Path, typer.Argument(help="A campaign's folder, or one that `horizon gate` measured.")],
    to: Annotated[Path, typer.Option(help="The baseline's file, NAME.parquet.")],
    why: Annotated[str, typer.Option(help="Kept in the file, with who and when.")],
    who: Annotated[str | None, typer.Option(help="Default: git's user.name.")] = None,
) -> None:
    """Make a run the baseline from now on, on purpose: who, when and why are kept in its file."""
    from reports.evidence import accept as keep

    note = keep(_run(run), to, why, who)
    console.print(f"{to}: {run} of {note['commit']}, accepted by {note['who']}: {note['why']}")


@baselines.command()
def show(file: Annotated[Path, typer.Argument(help="A baseline's file.")], as_json: Json = False) -> None:
    """What a baseline is of, and who accepted it when and why."""
    from reports.evidence import read

    found = read(file)
    if as_json:
        print_json({"cohort": found.cohort(), "suites": found.suites(), "accepted": list(found.accepted)})
        return
    about = table("", "", title=str(file))
    for key, value in found.cohort().items():
        about.add_row(key, str(value))
    about.add_row("strategies", ", ".join(dict.fromkeys(found.scores["arm"])))
    about.add_row("suites", ", ".join(f"{suite} {versions[0]}" for suite, versions in found.suites().items()))
    console.print(about)
    history = table("when", "who", "commit", "why", title="accepted")
    for note in found.accepted:
        history.add_row(note["when"], note["who"], note["commit"], note["why"])
    console.print(history)


def _run(run: Path) -> Evidence:
    from reports.evidence import read

    return read(run / HEAD if (run / HEAD).exists() else run)


def _campaign(path: Path | None, strategies: Sequence[str] | None) -> Campaign:
    from harness.campaign import make_campaign, read_campaign

    asked = read_campaign(path) if path else make_campaign(DEFAULT)
    return asked.model_copy(update={"strategies": tuple(strategies)}) if strategies else asked


def _judged(head: Evidence, base: Evidence, policy: Path | None) -> Verdict:
    from reports.gate import judge
    from reports.policy import declared, read_policy

    suites = head.suites()
    return judge(head, base, read_policy(policy, suites) if policy else declared(suites))


def _measured(
    rounds: Rounds, campaign: Campaign, baseline: Path | None, policy: Path | None, seconds: float
) -> Verdict:
    """Measure, judge, and measure again what stays unsure while there is time."""
    from harness.rounds import only
    from reports.evidence import read, united

    known = read(baseline) if baseline else None
    began, asked = time.monotonic(), campaign
    while True:
        rounds.go(asked)
        head, *bases = (united([read(folder) for folder in folders]) for folders in rounds.folders.values())
        verdict = _judged(head, known or bases[0], policy)
        unsure = _unsure(verdict)
        asked = only(campaign, {each.arm for each in unsure}, {each.suite for each in unsure})
        # It is finished before the time is up, not after it.
        if not unsure or rounds.number >= ROUNDS or time.monotonic() - began + rounds.price(asked) > seconds:
            return verdict
        places = "; ".join(finding.place for finding in unsure[:3])
        console.print(f"unsure of {len(unsure)}: {places}{'; ...' if len(unsure) > 3 else ''}", style="yellow")


def _unsure(verdict: Verdict) -> list[Finding]:
    """What more repeats may settle. A regression of what varies is measured again before it is called one."""
    return [
        finding
        for finding in verdict.of("inconclusive", "regression")
        if finding.metric and (finding.state == "inconclusive" or finding.loss.low < finding.loss.high)
    ]


def _tell(verdict: Verdict, written: Sequence[Path]) -> None:
    from reports.gate_page import headline, sheet

    loud = sheet(verdict)
    if loud.rows:
        shown = table(*loud.heads)
        for row in loud.rows:
            shown.add_row(*row[:1], Text(row[1], "bold"), *row[2:])
        console.print(shown)
        console.print()
    for note in verdict.notes:
        console.print(f"not as in the baseline: {note}", style="dim")
    console.print(headline(verdict), style=COLOURS.get(verdict.state))
    console.print(", ".join(str(path) for path in written), style="dim")
