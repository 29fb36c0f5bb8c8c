"""The commands that measure: `horizon run | merge | films`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from harness.cli.compare import OUT, BaselineOption
from harness.cli.terminal import (
    Json,
    OffloadOption,
    SizeOption,
    TilingOption,
    WeightsOption,
    app,
    aside,
    console,
    print_json,
    table,
)  # fmt: skip
from harness.cli.ticker import Ticker
from harness.errors import CampaignError

if TYPE_CHECKING:
    from harness.backbone.presets import Backbone
    from harness.campaign import Cell
    from harness.store import Status


@app.command()
def run(
    campaign: Annotated[Path | None, typer.Argument(help="A campaign as a TOML file; options overrule it.")] = None,
    strategy: Annotated[list[str] | None, typer.Option(help="NAME[.KNOB=VALUE,...]; repeat. Default: all.")] = None,
    suite: Annotated[
        list[str] | None, typer.Option(help="Repeat for several. Default: drift, interactive and distance.")
    ] = None,
    tier: Annotated[str | None, typer.Option(help="gate, quick, full, long or day: how much is run.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed gives other scenes of the same kind.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Default: pocket.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    out: Annotated[Path, typer.Option(help="The campaign's folder; what is there already is not run again.")] = OUT,
    retry: Annotated[
        list[str] | None, typer.Option(help="Run cells of this status again: failed, oom, nan, ...")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds a cell.")] = None,
    save_every: Annotated[
        float, typer.Option(help="Seconds between the states that a killed cell goes on from.")
    ] = 10.0,
    threads: Annotated[int | None, typer.Option(help="CPU threads; the last bits depend on their number.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the cells; give each its threads.")] = 1,
    equal_budget: Annotated[
        int | None,
        typer.Option(min=0, help="Window (latent frames) whose bytes all get too; 0: none."),
    ] = None,
    weights: WeightsOption = None,
    size: SizeOption = None,
    tiling: TilingOption = False,
    offload: OffloadOption = False,
    prompts: Annotated[
        Path | None, typer.Option(help="Prompts or scripts of your own: .txt, a line each; .jsonl.")
    ] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Also keep videos without loss.")] = False,
    baseline: BaselineOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells with time and disk, run nothing.")] = False,
) -> None:
    """Run a campaign, or go on with it: strategies under suites, cell by cell, safe against kills at any moment."""
    import torch

    from harness.campaign import cells, make_campaign, manifest, read_campaign
    from harness.executor import run as execute
    from harness.room import warnings
    from harness.store import Status, Store

    given = {
        "strategies": strategy, "suites": suite, "tier": tier, "seed": seed, "backbone": backbone, "device": device,
        "equal_budget": equal_budget, "weights": weights and str(weights), "size": size, "tiling": tiling or None,
        "offload": offload or None, "prompts": prompts and str(prompts), "lossless": lossless or None,
        "baseline": baseline,
    }  # fmt: skip
    asked = read_campaign(campaign) if campaign else make_campaign({})
    asked = make_campaign({**asked.model_dump(), **{key: value for key, value in given.items() if value is not None}})
    unknown = set(retry or ()) - set(get_args(Status))
    if unknown:
        raise CampaignError(f"--retry {', '.join(sorted(unknown))}: allowed: {', '.join(get_args(Status))}")
    if threads:
        torch.set_num_threads(threads)
    stage = asked.stage()
    planned = cells(asked, stage)
    _named(asked.baseline, planned, Store(out))
    for line in warnings(planned, stage):
        aside.print(line)
    if dry_run:
        _list(planned, stage, Store(out))
        return
    store = Store(out)
    store.begin(manifest(asked, stage, planned, out.name))
    with Ticker(planned) as ticker, _stoppable(), _helpers(workers - 1):
        execute(
            store,
            stage,
            planned,
            retry=cast("tuple[Status, ...]", tuple(retry or ())),
            timeout=timeout,
            save_every=save_every,
            lossless=asked.lossless,
            report=ticker.step,
            done=ticker.done,
        )
    bad = {status: count for status, count in ticker.counts.items() if status not in ("ok", "skipped") and count}
    console.print(f"{out}: " + ", ".join(f"{count} {status}" for status, count in ticker.counts.items() if count))
    if bad:
        console.print(
            f"What went wrong is in {out}/cells; again with: horizon run --out {out} --retry {next(iter(bad))}"
        )
        raise typer.Exit(1)


@app.command()
def merge(
    target: Annotated[Path, typer.Argument(help="The folder that gets everything.")],
    sources: Annotated[list[Path], typer.Argument(help="Folders of the same campaign, from other machines.")],
) -> None:
    """Put the folders of several machines together. Conflicting cells are refused before anything is copied."""
    from harness.store import merge as put_together

    console.print(f"{target}: {put_together(target, sources)} cells came")


@app.command()
def films(
    folder: Annotated[Path, typer.Argument(help="The folder of a campaign.")] = OUT, as_json: Json = False
) -> None:
    """List a campaign's videos for viewers, which look at them in environments of their own (nox -s perceptual)."""
    from harness.screening import list_films
    from harness.store import Store

    store = Store(folder)
    store.manifest()
    path, found = list_films(store)
    if as_json:
        print_json({"films": [{"id": film.id, "path": str(film.path), "frames": film.frames} for film in found]})
        return
    console.print(
        f"{path}: {len(found)} films, {sum(film.frames / film.rate for film in found) / 60:.1f} minutes in all"
    )


def _named(baseline: str | None, planned: list[Cell], store: Any) -> None:
    """Raise UnknownNameError, before the first frame, for a baseline that no arm is called."""
    from harness.store import MANIFEST
    from reports.baseline import choose
    from reports.tables import entrant_of

    if baseline is None:
        return
    there = store.manifest()["asked"]["arms"] if (store.folder / MANIFEST).exists() else []
    arms = {id(cell.arm): cell.arm for cell in planned}.values()
    choose([entrant_of(arm) for arm in [*(arm.asked() for arm in arms), *there]], baseline)


@contextmanager
def _helpers(count: int) -> Iterator[None]:
    """The same command in so many more processes, which share the folder and say nothing."""
    command = [sys.executable, *sys.orig_argv[1:], "--workers", "1"]
    quiet = subprocess.DEVNULL
    helpers = [subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) for _ in range(count)]
    try:
        yield
    finally:
        # All cells are done, or the user is: nobody is waited for.
        for helper in helpers:
            helper.terminate()
        for helper in helpers:
            helper.wait()


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let Ctrl-C end the command in one line; the store keeps what is there."""
    try:
        yield
    except KeyboardInterrupt:
        print("horizon: stopped; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None


def _list(planned: list[Cell], stage: Backbone, store: Any) -> None:
    from harness.executor import estimate

    sheet = table("cell", "strategy", "suite", "scenario", "rollouts", "latent frames", "about", title="what would run")
    total, disk = 0.0, 0
    # Repeats differ in their seed only.
    known: dict[tuple[str, str, str, int], tuple[float, int]] = {}
    for cell in planned:
        there = store.find(cell.id)
        kind = (cell.arm.label, cell.suite.name, cell.task.scenario, cell.task.frames)
        if not (cell.skip or there or kind in known):
            known[kind] = estimate(cell, stage)
        seconds, size = (0.0, 0) if cell.skip or there else known[kind]
        total, disk = total + seconds, disk + size
        what = (
            "skipped" if cell.skip else f"there, {there.status}" if there else f"{seconds:.0f} s, {size / 1e6:.1f} MB"
        )
        task = cell.task
        sheet.add_row(
            cell.id[:8], cell.arm.label, cell.suite.name, task.scenario, str(len(task.rows)), f"{task.frames:,}", what
        )
    console.print(sheet)
    console.print(f"{len(planned)} cells, about {total / 60:.1f} minutes and {disk / 1e6:.0f} MB from here on")
