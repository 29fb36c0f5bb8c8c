"""The commands that measure: `horizon run | merge | films`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from harness.cli.compare import OUT, BaselineOption
from harness.cli.console import checks
from harness.cli.console.preliminary import Preliminary
from harness.cli.console.terminal import (
    ChunkOption,
    CompileOption,
    DtypeOption,
    ContainerOption,
    DecoderOption,
    Json,
    OffloadOption,
    SizeOption,
    TilingOption,
    WeightsOption,
    app,
    aside,
    console,
    print_json,
)  # fmt: skip
from harness.cli.console.ticker import Ticker
from harness.errors import CampaignError, CheckpointError, PresetError

if TYPE_CHECKING:
    from harness.campaign.campaign import Campaign
    from harness.campaign.expansion import Cell
    from harness.campaign.papers import Paper
    from harness.store.store import Status, Store


@app.command()
def run(
    campaign: Annotated[Path | None, typer.Argument(help="A campaign as a TOML file; options override it.")] = None,
    strategy: Annotated[list[str] | None, typer.Option(help="NAME[.KNOB=VALUE,...]; repeat. Default: all.")] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(help="Repeat for several. Default: drift, interactive, distance; fairness in a known world."),
    ] = None,
    tier: Annotated[str | None, typer.Option(help="How much to run: gate, quick, full, long or day.")] = None,
    seed: Annotated[
        int | None, typer.Option(callback=checks.seed, help="Another seed gives other scenes of the same kind.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(callback=checks.seeds, help="Number of seeds, from --seed on; reports combine them."),
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Default: pocket.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    out: Annotated[Path, typer.Option(help="The campaign's folder; its finished cells are not run again.")] = OUT,
    retry: Annotated[
        list[str] | None, typer.Option(help="Run cells with this status again: failed, oom, nan, ...")
    ] = None,
    keep_stale: Annotated[
        bool, typer.Option("--keep-stale", help="Keep cells that were made by other code; every table marks them.")
    ] = False,
    timeout: Annotated[float | None, typer.Option(callback=checks.above_zero, help="Seconds for each cell.")] = None,
    save_every: Annotated[
        float,
        typer.Option(callback=checks.not_negative, help="Seconds between saved states, from which a cell can resume."),
    ] = 10.0,
    threads: Annotated[
        int | None,
        typer.Option(callback=checks.threads, help="CPU threads; the last bits of numbers depend on it."),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Who runs the cells: inline (this process), processes (a worker a device) or ray (a cluster). "
            "Default: processes where several devices can be seen."
        ),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            callback=checks.workers_or_auto,
            help="Processes that share the cells, a number or auto: one a visible device. --threads is for each.",
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="With --engine ray: HOST:PORT of its cluster, or auto. Default: this machine.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="K/N: begin with this part of the cells, then help others. Default: as srun, torchrun or arrays say."
        ),
    ] = None,
    equal_budget: Annotated[
        int | None,
        typer.Option(min=0, help="Window in latent frames whose bytes are the equal budget; 0: no such table."),
    ] = None,
    dtype: DtypeOption = None,
    compile: CompileOption = None,
    weights: WeightsOption = None,
    size: SizeOption = None,
    tiling: TilingOption = False,
    offload: OffloadOption = False,
    container: ContainerOption = None,
    chunk: ChunkOption = None,
    decoder: DecoderOption = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="A file of your own prompts, used unchanged: .txt, one per line; .csv; .json; .jsonl. A text with a "
            "length at the end of a scene, 'a fox [10s] | a den', is a script."
        ),
    ] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Also keep lossless videos.")] = False,
    baseline: BaselineOption = None,
    paper: Annotated[
        str | None,
        typer.Option(help="A paper's table, shown beside its numbers; options override it. A wrong name lists all."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List the cells with expected time and disk space; run none. --device cuda needs no GPU then.",
        ),
    ] = False,
    gpu: Annotated[
        str | None, typer.Option(help="With --dry-run, where there is no GPU: the one to plan for. Default: H100.")
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(help="With --dry-run: a folder of an earlier run on that GPU, whose times are used.")
    ] = None,
) -> None:
    """Run or resume a campaign: strategies under suites, cell by cell. It can be killed at any moment and resumed."""
    from harness.campaign.expansion import absent, cells, manifest
    from harness.campaign.preflight import warnings
    from harness.cli.runs.dry_run import list_cells, plan_campaign, plan_in_words
    from harness.cli.runs.engines import Crew, run_cells
    from harness.engines.inline import survey
    from harness.engines.sharing.agreement import check_code
    from harness.store.abilities import abilities
    from harness.store.store import Status, Store

    given = {
        "strategies": strategy, "suites": suite, "tier": tier, "seed": seed, "seeds": seeds,
        "backbone": backbone, "device": device, "dtype": dtype, "compile": compile,
        "equal_budget": equal_budget, "weights": weights and str(weights), "size": size, "tiling": tiling or None,
        "offload": offload or None, "container": container, "chunk": chunk, "decoder": decoder,
        "prompts": prompts and str(prompts), "lossless": lossless or None, "baseline": baseline,
        "engine": engine, "address": address,
        "workers": int(workers) if workers and workers != "auto" else workers,
    }  # fmt: skip
    asked, table = _asked(campaign, paper, given)
    unknown = set(retry or ()) - set(get_args(Status))
    if unknown:
        raise CampaignError(f"--retry {', '.join(sorted(unknown))}: allowed: {', '.join(get_args(Status))}")
    crew = Crew(asked, threads, shard)
    try:
        stage = crew.stage()
    except (CheckpointError, PresetError) as error:
        # A login node plans for GPUs, weights and data that it does not have.
        if not (dry_run and asked.device.startswith("cuda")):
            raise
        plan_campaign(asked, error, gpu, measured)
        return
    planned = cells(asked, stage)
    _named(asked.baseline, planned, Store(out))
    for line in warnings(planned, stage) if crew.engine != "ray" else ():
        aside.print(line)
    store, again = Store(out), cast("tuple[Status, ...]", tuple(retry or ()))
    # The name of a folder may be bytes that are not valid text.
    told = manifest(asked, stage, planned, os.fsencode(out.name).decode("utf-8", "backslashreplace"))
    if table is not None:
        told["asked"]["paper"] = table.model_dump(mode="json")
    store.check(told)
    looks = survey(store, planned, again, keep_stale, crew.name)
    if not dry_run:
        store.begin(told)
    for line in absent(planned):
        aside.print(line, soft_wrap=True)
    if dry_run:
        list_cells(looks, stage)
        return
    check_code(store, planned, crew.name if crew.shared else None, told["environment"])
    if crew.share.count > 1:
        aside.print(f"part {crew.share.text}; {abilities(store.folder, store.flight)}", soft_wrap=True)
    for line in plan_in_words(looks):
        console.print(line)
    kept = {look.cell.id for look in looks if not look.due}
    # Workers print no tables: the process that the user started does.
    ticker = Ticker(planned, kept, aloud=not crew.worker, table=None if crew.worker else Preliminary(out))
    options = {
        "retry": again, "keep_stale": keep_stale, "timeout": timeout, "save_every": save_every,
        "lossless": asked.lossless,
    }  # fmt: skip
    with ticker, _stoppable():
        dead = run_cells(crew, store, stage, looks, ticker, options)
    for command in () if table is None or crew.worker else table.viewers:
        console.print(f"Measure the films: {command.replace('FOLDER', str(out))}", soft_wrap=True)
    if dead:
        died = f"{len(dead)} worker{'s' * (len(dead) > 1)} ended with an error; others took their cells over"
        console.print(f"{died}: exit code 1", style="yellow", soft_wrap=True)
    if _ended(out, ticker, crew.worker) or dead:
        raise typer.Exit(1)


@app.command()
def merge(
    target: Annotated[Path, typer.Argument(help="The folder that receives all cells.")],
    sources: Annotated[list[Path], typer.Argument(help="Folders of the same campaign, from other machines.")],
) -> None:
    """Merge the folders of several machines. Conflicting cells are refused before anything is copied."""
    from harness.store.merging import merge as put_together

    came, left = put_together(target, sources)
    console.print(f"{target}: {came} cells came")
    for each in left:
        console.print(f"not kept: {each}", style="yellow", soft_wrap=True)


@app.command()
def films(
    folder: Annotated[Path, typer.Argument(help="The folder of a campaign.")] = OUT, as_json: Json = False
) -> None:
    """List a campaign's videos for viewers, which run in their own environments (nox -s perceptual)."""
    from harness.campaign.film_list import list_films
    from harness.store.store import Store

    store = Store(folder)
    store.manifest()
    path, found = list_films(store)
    if as_json:
        print_json({"films": [{"id": film.id, "path": str(film.path), "frames": film.frames} for film in found]})
        return
    console.print(
        f"{path}: {len(found)} films, {sum(film.frames / film.rate for film in found) / 60:.1f} minutes in all"
    )


def _ended(out: Path, ticker: Ticker, worker: bool) -> bool:
    """Print the states of the cells, and return whether this process reports that some have no numbers.

    Only the process that the user started does so, by its exit code; its workers do not.
    """
    bad = {status: count for status, count in ticker.counts.items() if status not in ("ok", "skipped") and count}
    counts = ", ".join(f"{count} {status}" for status, count in ticker.counts.items() if count)
    console.print(f"{out}: {counts}", soft_wrap=True)
    if bad:
        retry = f"to run these again, give the same command with --retry {next(iter(bad))}"
        console.print(f"The reasons are in {out}/cells; {retry}", soft_wrap=True)
    return bool(bad) and not worker


def _asked(campaign: Path | None, paper: str | None, given: Mapping[str, Any]) -> tuple[Campaign, Paper | None]:
    """Return the campaign of a file or of a paper's table, with the options that were given; and the table."""
    from harness.campaign.campaign import make_campaign, read_campaign
    from harness.campaign.papers import read_paper

    if paper is not None and campaign is not None:
        raise CampaignError(f"--paper {paper}: is a campaign of its own; leave {campaign} out")
    values, table = read_paper(paper) if paper is not None else ({}, None)
    asked = read_campaign(campaign) if campaign else make_campaign(values, f"--paper {paper}")
    if given["seed"] is not None and given["seeds"] is None and isinstance(asked.seeds, tuple):
        raise CampaignError(
            f"--seed {given['seed']}: {campaign} lists its seeds; give --seeds too, to count from this seed"
        )
    options = {key: value for key, value in given.items() if value is not None}
    return make_campaign({**asked.model_dump(), **options}), table


def _named(baseline: str | None, planned: Sequence[Cell], store: Store) -> None:
    """Raise UnknownNameError, before the first frame, for a baseline that is not the name of an arm."""
    from harness.store.store import MANIFEST
    from reports.arms import entrant_of
    from reports.statistics.baseline import choose

    if baseline is None:
        return
    there = store.manifest()["asked"]["arms"] if (store.folder / MANIFEST).exists() else []
    planned_arms = {id(cell.arm): cell.arm for cell in planned}.values()
    # By label, since an arm of this run may be in the folder too.
    arms = {arm["label"]: arm for arm in [*there, *(arm.asked() for arm in planned_arms)]}
    choose([entrant_of(arm) for arm in arms.values()], baseline)


@contextmanager
def _stoppable() -> Iterator[None]:
    """End the command with one line after Ctrl-C; finished cells stay in the folder."""
    try:
        yield
    except KeyboardInterrupt:
        print("horizon: stopped; the same command continues from here", file=sys.stderr)
        raise typer.Exit(130) from None
