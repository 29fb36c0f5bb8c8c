"""The commands of the gate: `horizon gate | baseline | aa | history`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import checks
from harness.cli.console.terminal import Json, app, aside, console, line, print_json, progress_over, table
from harness.errors import BaselineError, CampaignError
from harness.files import load_json

if TYPE_CHECKING:
    from harness.campaign.campaign import Campaign
    from harness.gate.rounds import Rounds
    from reports.gate.evidence import Evidence
    from reports.gate.policy import Policy
    from reports.gate.verdicts import Verdict

OUT, AA = Path("runs/gate"), Path("runs/aa")
HEAD, BASE = "head.parquet", "base.parquet"
"""Files with the evidence of the two sides of a gate; `horizon baseline accept` reads the first."""
DEFAULT = {"suites": ["drift", "interactive", "latency", "vram"], "tier": "gate", "equal_budget": 0}
"""The default campaign of a gate."""
ROUNDS = 4
"""Most rounds of repeats for findings that stay unsure."""
COLOURS = {"regression": "bold red", "infra_error": "red", "mismatch": "red", "inconclusive": "yellow", "pass": "green",
           "improved": "green"}  # fmt: skip

baselines = typer.Typer(add_completion=False, rich_markup_mode=None)
app.add_typer(baselines, name="baseline", help="Keep a run as the baseline of later runs.")


@app.command()
def gate(
    run: Annotated[Path, typer.Argument(help="A campaign's folder; with --against or --measure: the output.")] = OUT,
    against: Annotated[
        str | None,
        typer.Option(help="Compare with this commit, branch or checkout. Default: where this branch left main."),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="A run's folder, a file of `horizon baseline`, or an arm of RUN that the others must match."),
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="With --baseline: measure this code first.")] = False,
    campaign: Annotated[Path | None, typer.Option(help="A TOML file. Default: every strategy, tier gate.")] = None,
    strategy: Annotated[list[str] | None, typer.Option(help="NAME[.KNOB=VALUE,...]; repeat. Default: all.")] = None,
    policy: Annotated[Path | None, typer.Option(help="A TOML file of margins; default: those of the suites.")] = None,
    minutes: Annotated[
        float, typer.Option(callback=checks.not_negative, help="Minutes for measuring; repeats are added until then.")
    ] = 6.0,
    workers: Annotated[
        int | None, typer.Option(callback=checks.workers, help="Processes for quality. Default: up to 4.")
    ] = None,
    threads: Annotated[int, typer.Option(callback=checks.threads, help="CPU threads of each process.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if the result is inconclusive, too.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(callback=checks.folder, help="Folder of gate.md, gate.html, junit.xml, gate.json. Default: RUN."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare a run with its baseline. Exit 0: not worse; 1: worse in quality, speed or memory; 2: not comparable."""
    from harness.gate import checkouts as trees
    from harness.gate.rounds import Rounds
    from reports.gate.arms import beside
    from reports.gate.evidence import read
    from reports.gate.page import write
    from reports.gate.verdicts import EXIT

    if against is not None and baseline is not None:
        raise BaselineError("give --against (a commit, branch or checkout) or --baseline (a folder or file), not both")
    margins = partial(_margins, policy)
    if baseline is not None and not measure:
        mine = _run(run)
        # A name that is not a file is the name of an arm of the run.
        arm = not baseline.exists() and baseline.suffix != ".parquet" and len(baseline.parts) == 1
        verdict = _judged(*(beside(mine, str(baseline)) if arm else (mine, read(baseline))), margins)
    else:
        asked = _campaign(campaign, strategy)
        # Report errors in the policy before the measurements.
        margins(asked.suites or ())
        root = Path(__file__).parents[2]
        sides = {"head": trees.tree(root)}
        if baseline is None:
            sides["base"] = trees.checked_out(against or trees.before(root), root, run / "trees")
            same = sides["base"].digest == sides["head"].digest
            aside.print(f"this code beside {sides['base'].path}{', which is the same code' * same}")
        rounds = Rounds(run, sides, workers or _workers(), threads, aside.print)
        verdict = _measured(rounds, asked, baseline, margins, 60 * minutes)
    code = 1 if strict and verdict.state == "inconclusive" else EXIT[verdict.state]
    written = write(verdict, out or (run.parent if run.suffix == ".parquet" else run), code)
    if as_json:
        print_json(load_json(written[1]))
    else:
        _tell(verdict, written)
    raise typer.Exit(code)


@app.command()
def aa(
    out: Annotated[Path, typer.Argument(help="A folder of runs; existing runs are kept.")] = AA,
    runs: Annotated[int, typer.Option(min=1, help="Number of gates of this code against itself.")] = 12,
    campaign: Annotated[Path | None, typer.Option(help="A TOML file. Default: every strategy, tier gate.")] = None,
    policy: Annotated[Path | None, typer.Option(help="A TOML file of margins; default: those of the suites.")] = None,
    minutes: Annotated[float, typer.Option(callback=checks.not_negative, help="Minutes for measuring each run.")] = 6.0,
    gates: Annotated[int, typer.Option(min=1, help="Number of gates to simulate from the recorded runs.")] = 1000,
    as_json: Json = False,
) -> None:
    """Measure the noise of the gate: the spread of each number, false alarms, detectable effects, fitting margins."""
    from harness.gate import checkouts as trees
    from harness.gate.rounds import Rounds
    from reports.gate.calibration import calibrate, headline, rows, write
    from reports.gate.evidence import read
    from reports.gate.page import write as put

    margins = partial(_margins, policy)
    tree = trees.tree(Path(__file__).parents[2])
    # Another digest for the same code, so that each side runs its quality suites separately.
    sides = {"head": tree, "base": replace(tree, digest=f"{tree.digest}-again")}
    left = [run for run in map(str, range(1, runs + 1)) if not (out / run / "gate.json").exists()]
    with progress_over(left, "run") as numbers:
        for number in numbers:
            asked = _campaign(campaign, None)
            verdict = _measured(Rounds(out / number, sides, _workers(), 1), asked, None, margins, 60 * minutes)
            put(verdict, out / number)
    done = sorted(run.parent for run in out.glob("*/gate.json"))
    pairs = [(read(run / HEAD), read(run / BASE)) for run in done]
    states = [_judged(head, base, margins).state for head, base in pairs]
    found = calibrate(pairs, states, margins(pairs[0][0].suites()), gates)
    written = write(found, out)
    if as_json:
        print_json(load_json(written[1]))
        return
    heads, found_rows = rows(found)
    shown = table(*heads, title="the same code against itself")
    for row in found_rows:
        shown.add_row(*row)
    console.print(shown)
    console.print(headline(found))
    console.print(", ".join(str(path) for path in written), style="dim", soft_wrap=True)


@app.command()
def history(
    folder: Annotated[Path, typer.Argument(help="A folder of runs: campaigns, gates, and baselines.")],
    metric: Annotated[list[str] | None, typer.Option(help="SUITE.METRIC; repeat. Default: the gate's metrics.")] = None,
    out: Annotated[
        Path | None, typer.Option(callback=checks.file, help="File of the plot. Default: history.png in FOLDER.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the steps up or down of each number over all runs in a folder, in order of the times at which they began."""
    from reports.gate.history import draw, load, steps

    runs = load(folder)
    series = steps(runs, metric)
    place = out or folder / "history.png"
    draw(series, place)
    if as_json:
        print_json({"runs": len(runs), "steps": [vars(step) for each in series for step in each.steps]})
        return
    shown = table("", "run", "commit", "level", "change", title=f"{len(runs)} runs")
    for each in series:
        for step in each.steps:
            what = line(f"{each.arm}: {each.metric} in {each.scenario}", "bold")
            levels = f"{step.before:,.4g} to {step.after:,.4g} {each.unit}"
            shown.add_row(what, step.run, step.commit, levels, line(step.told, "red" if step.worse else "green"))
    console.print(shown if shown.row_count else f"{len(runs)} runs, {len(series)} series: no step")
    console.print(f"{place}", style="dim", soft_wrap=True)


@baselines.command()
def accept(
    run: Annotated[Path, typer.Argument(help="A campaign's folder, or one that `horizon gate` measured.")],
    to: Annotated[Path, typer.Option(help="The baseline's file, NAME.parquet.")],
    why: Annotated[str, typer.Option(help="The reason, which is kept in the file with name and date.")],
    who: Annotated[str | None, typer.Option(help="Your name. Default: git's user.name.")] = None,
) -> None:
    """Accept a run as the new baseline; name, date and reason are kept in its file."""
    from reports.gate.evidence import accept as keep

    note = keep(_run(run), to, why, who)
    console.print(f"{to}: {run} of {note['commit']}, accepted by {note['who']}: {note['why']}")


@baselines.command()
def show(file: Annotated[Path, typer.Argument(help="A baseline's file.")], as_json: Json = False) -> None:
    """Show the contents of a baseline, and when, why and by whom it was accepted."""
    from reports.gate.evidence import read

    found = read(file)
    if as_json:
        print_json({"cohort": found.cohort(), "suites": found.suites(), "accepted": list(found.accepted)})
        return
    about = table("", "", title=str(file))
    for key, value in found.cohort().items():
        about.add_row(key, str(value))
    about.add_row("strategies", ", ".join(dict.fromkeys(found.scores["arm"])))
    about.add_row("suites", ", ".join(f"{suite} {version}" for suite, version in found.suites().items()))
    console.print(about)
    history = table("when", "who", "commit", "why", title="accepted")
    for note in found.accepted:
        history.add_row(note["when"], note["who"], note["commit"], note["why"])
    console.print(history)


def _run(run: Path) -> Evidence:
    from reports.gate.evidence import read

    return read(run / HEAD if (run / HEAD).exists() else run)


def _workers() -> int:
    return min(4, os.cpu_count() or 1)


def _campaign(path: Path | None, strategies: Sequence[str] | None) -> Campaign:
    from harness.campaign.campaign import make_campaign, read_campaign

    asked = read_campaign(path) if path else make_campaign(DEFAULT)
    if asked.seeds is not None:
        raise CampaignError(f"{path}: a gate chooses the number of seeds itself, one per round; leave seeds out")
    return make_campaign({**asked.model_dump(), "strategies": list(strategies)}) if strategies else asked


def _margins(policy: Path | None, suites: Iterable[str]) -> Policy:
    from reports.gate.policy import declared, read_policy

    return read_policy(policy, suites) if policy else declared(suites)


def _judged(head: Evidence, base: Evidence, margins: Callable[[Iterable[str]], Policy]) -> Verdict:
    from reports.gate.verdicts import judge

    return judge(head, base, margins(dict.fromkeys((*head.suites(), *base.suites()))))


def _measured(
    rounds: Rounds,
    campaign: Campaign,
    baseline: Path | None,
    margins: Callable[[Iterable[str]], Policy],
    seconds: float,
) -> Verdict:
    """Measure and judge; repeat the measurements that stay unsure while there is time."""
    from harness.gate.rounds import only
    from reports.gate.evidence import nothing, only_arms, read, save, united
    from reports.gate.verdicts import unsure

    known = read(baseline) if baseline else None
    began, asked, called = time.monotonic(), campaign, set[str]()
    while True:
        rounds.go(asked)
        head = united([read(folder) for folder in rounds.folders["head"]])
        base = known
        if base is None:
            # The base has no folder if all strategies are new in this code.
            base = united([read(folder) for folder in rounds.folders["base"]] or [nothing(head)])
        elif campaign.strategies:
            base = only_arms(base, {arm["label"] for arm in head.manifest["asked"]["arms"]})
        verdict = _judged(head, base, margins)
        # A finding that is a regression in two rounds is not measured again.
        left = [each for each in unsure(verdict.findings) if each.place not in called]
        called = {each.place for each in verdict.of("regression")}
        asked = only(campaign, {each.arm for each in left}, {each.suite for each in left})
        # Stop if the next round would exceed the time.
        if not left or rounds.number >= ROUNDS or time.monotonic() - began + rounds.price(asked) > seconds:
            save(head, rounds.run / HEAD)
            save(verdict.base, rounds.run / BASE)
            return verdict
        places = "; ".join(finding.place for finding in left[:3])
        aside.print(f"unsure of {len(left)}: {places}{'; ...' if len(left) > 3 else ''}")


def _tell(verdict: Verdict, written: Sequence[Path]) -> None:
    from reports.gate.page import headline, sheet

    loud = sheet(verdict)
    if loud.rows:
        shown = table("", "", "n", "baseline", "now", "worse by", "allowed")
        for sign, arm, metric, scenario, *numbers in loud.rows:
            shown.add_row(sign, line(f"{arm}: {metric}" + (f" in {scenario}" if scenario else ""), "bold"), *numbers)
        console.print(shown)
        console.print()
    for note in verdict.notes:
        console.print(f"differs from the baseline: {note}", style="dim")
    console.print(headline(verdict), style=COLOURS.get(verdict.state))
    console.print(", ".join(str(path) for path in written), style="dim", soft_wrap=True)
