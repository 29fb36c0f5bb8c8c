"""The commands for films made elsewhere: `horizon import | score`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.compare import OUT, compare
from harness.cli.console import checks
from harness.cli.console.terminal import app, aside, console

if TYPE_CHECKING:
    from harness.store.store import Store

FilmsArgument = Annotated[
    list[Path], typer.Argument(help="Videos (mp4, mkv, webm, mov, gif), or folders with the pictures of one.")
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        help="Prompts, one a line, in the order of the films or named like them; or a CSV or JSON of "
        "file,prompt,seed,scenes. Default: the films' names."
    ),
]
SuitesOption = Annotated[
    list[str] | None, typer.Option("--suite", help="drift, vbench_long, interactive; repeat. Default: the campaign's.")
]
RateOption = Annotated[
    float | None, typer.Option(callback=checks.above_zero, help="Pictures a second: of folders, or to sample all at.")
]
SecondsOption = Annotated[
    float | None, typer.Option(callback=checks.above_zero, help="Seconds from the beginning that count.")
]
PicturesOption = Annotated[
    int | None, typer.Option("--chunk", min=2, help="Pictures that were made together, where that is known.")
]
WorkersOption = Annotated[int, typer.Option(callback=checks.workers, help="Processes that read films.")]


@app.command("import")
def import_(
    films: FilmsArgument,
    name: Annotated[str, typer.Option(help="The arm's name in tables.")] = "imported",
    prompts: PromptsOption = None,
    out: Annotated[Path, typer.Option(help="A campaign's folder, or a new one.")] = OUT,
    suite: SuitesOption = None,
    rate: RateOption = None,
    seconds: SecondsOption = None,
    chunk: PicturesOption = None,
    workers: WorkersOption = 1,
) -> None:
    """Put videos made elsewhere into a campaign as an arm, paired with the rollouts of the same prompts."""
    refused = _take(films, name, prompts, out, suite, rate, seconds, chunk, workers)
    console.print(f"Viewers read them with: horizon films {out}, and nox -s plain -- {out}", soft_wrap=True)
    if refused:
        raise typer.Exit(1)


@app.command()
def score(
    films: FilmsArgument,
    name: Annotated[str, typer.Option(help="The arm's name in tables.")] = "imported",
    prompts: PromptsOption = None,
    out: Annotated[Path, typer.Option(help="A campaign's folder, or a new one.")] = Path("runs/score"),
    suite: SuitesOption = None,
    rate: RateOption = None,
    seconds: SecondsOption = None,
    chunk: PicturesOption = None,
    workers: WorkersOption = 1,
) -> None:
    """Import videos, measure them with all viewers that can run here, and make the report."""
    from harness.store.store import Store

    refused = _take(films, name, prompts, out, suite, rate, seconds, chunk, workers)
    failed = _look(Store(out), workers)
    compare([out])
    if refused or failed:
        raise typer.Exit(1)


def _take(
    films: list[Path],
    name: str,
    prompts: Path | None,
    out: Path,
    suite: list[str] | None,
    rate: float | None,
    seconds: float | None,
    chunk: int | None,
    workers: int,
) -> list[str]:
    """Import films, and print the result. Return the lines about refused films."""
    from harness.campaign.foreign.arm import Asked, import_films
    from harness.errors import CampaignError
    from harness.store.store import Store

    asked = Asked(
        films, name, prompts, tuple(suite or ()), None if rate is None else Fraction(rate).limit_denominator(1001),
        seconds, chunk,
    )  # fmt: skip
    found = import_films(Store(out), asked, workers, lambda line: aside.print(line, soft_wrap=True))
    if not found.films:
        raise CampaignError(f"none of {len(films)} films could be imported; the first: {found.refused[0]}")
    pairs = (
        f", {found.paired} with rollouts of the same prompt" if found.paired else ", none with a rollout of its prompt"
    )
    console.print(f"{out}: {found.films} films imported as {name}{pairs}", soft_wrap=True)
    if found.refused:
        console.print(f"{len(found.refused)} refused, each for the reason above", style="yellow")
    return found.refused


def _look(store: Store, workers: int) -> int:
    """Measure the films with the viewers that can run in this process. Return the number of metrics that failed."""
    from harness.campaign.film_list import list_films
    from suites.viewers.here import look

    _, films = list_films(store)
    return look(store.folder, films, workers, lambda line: aside.print(line, soft_wrap=True))
