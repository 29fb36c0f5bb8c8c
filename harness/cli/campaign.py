"""The commands that measure: `horizon run | merge | films`."""

from __future__ import annotations

import os
import sys
import uuid
from collections import Counter
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
    ContainerOption,
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
from harness.errors import CampaignError

if TYPE_CHECKING:
    from harness.campaign.campaign import Campaign
    from harness.campaign.expansion import Cell
    from harness.campaign.papers import Paper
    from harness.engines.inline import Look
    from harness.store.store import Status, Store


@app.command()
def run(
    campaign: Annotated[Path | None, typer.Argument(help="A campaign as a TOML file; options override it.")] = None,
    strategy: Annotated[list[str] | None, typer.Option(help="NAME[.KNOB=VALUE,...]; repeat. Default: all.")] = None,
    suite: Annotated[
        list[str] | None, typer.Option(help="Repeat for several. Default: drift, interactive and distance.")
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
    workers_asked: Annotated[
        int,
        typer.Option(
            "--workers", callback=checks.workers, help="Processes that share the cells; --threads is for each of them."
        ),
    ] = 1,
    equal_budget: Annotated[
        int | None,
        typer.Option(min=0, help="Window in latent frames whose bytes are the equal budget; 0: no such table."),
    ] = None,
    weights: WeightsOption = None,
    size: SizeOption = None,
    tiling: TilingOption = False,
    offload: OffloadOption = False,
    container: ContainerOption = None,
    chunk: ChunkOption = None,
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
        bool, typer.Option("--dry-run", help="List the cells with expected time and disk space; run none.")
    ] = False,
) -> None:
    """Run or resume a campaign: strategies under suites, cell by cell. It can be killed at any moment and resumed."""
    import torch

    from harness.campaign.expansion import absent, cells, manifest
    from harness.campaign.preflight import warnings
    from harness.cli.dry_run import list_cells
    from harness.engines.inline import run as execute
    from harness.engines.inline import survey
    from harness.engines.processes import run_name, workers
    from harness.store.store import Status, Store

    given = {
        "strategies": strategy, "suites": suite, "tier": tier, "seed": seed, "seeds": seeds,
        "backbone": backbone, "device": device,
        "equal_budget": equal_budget, "weights": weights and str(weights), "size": size, "tiling": tiling or None,
        "offload": offload or None, "container": container, "chunk": chunk, "prompts": prompts and str(prompts),
        "lossless": lossless or None, "baseline": baseline,
    }  # fmt: skip
    asked, table = _asked(campaign, paper, given)
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
    store, again = Store(out), cast("tuple[Status, ...]", tuple(retry or ()))
    # The name of a folder may be bytes that are not valid text.
    told = manifest(asked, stage, planned, os.fsencode(out.name).decode("utf-8", "backslashreplace"))
    if table is not None:
        told["asked"]["paper"] = table.model_dump(mode="json")
    store.check(told)
    name = run_name() or uuid.uuid4().hex
    looks = survey(store, planned, again, keep_stale, name)
    if not dry_run:
        store.begin(told)
    for line in absent(planned):
        aside.print(line, soft_wrap=True)
    if dry_run:
        list_cells(looks, stage)
        return
    for line in _plan_in_words(looks):
        console.print(line)
    kept = {look.cell.id for look in looks if not look.due}
    worker = run_name() is not None
    # Workers print no tables: the process that the user started does.
    ticker = Ticker(planned, kept, aloud=not worker, table=None if worker else Preliminary(out))
    with ticker, _stoppable(), workers(workers_asked - 1, name, store.flight, ticker.warn):
        execute(
            store,
            stage,
            planned,
            retry=again,
            keep_stale=keep_stale,
            timeout=timeout,
            save_every=save_every,
            lossless=asked.lossless,
            name=name,
            report=ticker.step,
            done=ticker.done,
        )
    bad = {status: count for status, count in ticker.counts.items() if status not in ("ok", "skipped") and count}
    console.print(f"{out}: " + ", ".join(f"{count} {status}" for status, count in ticker.counts.items() if count))
    for command in () if table is None or worker else table.viewers:
        console.print(f"Measure the films: {command.replace('FOLDER', str(out))}", soft_wrap=True)
    if bad:
        console.print(
            f"The reasons are in {out}/cells; to run these again, give the same command with --retry {next(iter(bad))}"
        )
        # Only the process that the user started reports failed cells by its exit code; its workers do not.
        raise typer.Exit(0 if worker else 1)


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


def _plan_in_words(looks: Sequence[Look]) -> list[str]:
    """Return lines about the cells before a run: "12 kept, 3 stale: strategies/memrope changed"."""
    from harness.provenance.staleness import summary

    counts = Counter(look.state for look in looks)
    if counts["new"] != len(looks):
        reasons = summary([reason for look in looks if look.state == "stale" for reason in look.reasons])
        words = [
            f"{counts[state]} {state}{f': {reasons}' if state == 'stale' else ''}"
            for state in ("kept", "again", "new", "stale")
            if counts[state]
        ]
        old = [look for look in looks if look.state == "kept" and look.reasons]
        kept = [
            f"{len(old)} of the kept cells are stale: {summary([reason for look in old for reason in look.reasons])}"
        ]
        return [", ".join(words), *(kept if old else [])]
    return []


@contextmanager
def _stoppable() -> Iterator[None]:
    """End the command with one line after Ctrl-C; finished cells stay in the folder."""
    try:
        yield
    except KeyboardInterrupt:
        print("horizon: stopped; the same command continues from here", file=sys.stderr)
        raise typer.Exit(130) from None
