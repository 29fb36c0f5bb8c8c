"""Films made elsewhere as an arm of a campaign: a cell a film and suite, with the prompts and seeds of other arms."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from harness import registry
from harness.campaign.foreign.folder import Folder, peers_in
from harness.campaign.foreign.measured import Job, Measured, measured
from harness.campaign.foreign.prompts import prompts_of
from harness.errors import CampaignError
from harness.films.checks import is_component
from harness.store.manifest import has_known_world
from harness.store.store import MANIFEST, Store
from harness.suite import HORIZONS

LATENT = 0.25
"""Seconds of a latent frame where a campaign has no films of its own: that of Wan."""
SUITES = ("drift", "vbench_long", "interactive")


@dataclass(frozen=True)
class Asked:
    """What is to be imported.

    Parameters
    ----------
    films
        Files, and folders of pictures.
    name
        Name of the arm.
    prompts
        A file of prompts or a table; None: by the films' names.
    suites
        Names of suites; none: those of the campaign that look at films, else `drift`, and `interactive` for several
        scenes.
    rate, seconds, chunk
        Pictures a second; seconds from the beginning; pictures of a chunk; None where nothing was asked.
    """

    films: Sequence[Path]
    name: str
    prompts: Path | None = None
    suites: tuple[str, ...] = ()
    rate: Fraction | None = None
    seconds: float | None = None
    chunk: int | None = None


@dataclass(frozen=True)
class Imported:
    """What became of it: films that are in, pairs with rollouts of other arms, and a line for each film refused."""

    films: int
    paired: int
    refused: list[str]


def import_films(
    store: Store, asked: Asked, workers: int = 1, report: Callable[[str], None] = lambda line: None
) -> Imported:
    """Put films into a campaign, which is made where there is none.

    Films that are there already (same file, name and prompt) are kept. A film that cannot be read right is refused, and
    the others come in.

    Raises
    ------
    CampaignError
        For a campaign of a known world, a name that is taken or is no name, and suites that look at no films.
    PromptError
        For films without a prompt.
    """
    known = store.manifest() if (store.folder / MANIFEST).exists() else None
    _check(asked, known)
    peers = peers_in(store)
    suites = asked.suites or _suites(known)
    films = list(dict.fromkeys(asked.films))
    prompts = prompts_of(films, asked.prompts)
    latent = peers[0].latent if peers else LATENT
    lengths = tuple(dict.fromkeys((*(peer.frames for peer in peers), *HORIZONS)))
    refused: list[str] = []
    folder = Folder(store, asked.name)
    paired = count = 0
    with tempfile.TemporaryDirectory(dir=_scratch(store)) as scratch:
        usual = Job(films[0], "", suites, lengths, latent, asked.rate, asked.seconds, asked.chunk, Path(scratch))
        jobs = [
            replace(usual, path=film, text=each.text, workspace=Path(scratch, str(place)))
            for place, (film, each) in enumerate(zip(films, prompts, strict=True))
        ]
        try:
            with _mapped(workers) as run:
                for number, (job, each, found) in enumerate(zip(jobs, prompts, run(jobs), strict=True), 1):
                    if isinstance(found, str):
                        refused.append(found)
                        report(f"{number}/{len(jobs)} refused: {found}")
                        continue
                    paired += folder.add(each, found, job, peers)
                    count += 1
                    shutil.rmtree(job.workspace, ignore_errors=True)
                    report(f"{number}/{len(jobs)} {job.path.name}: {_words(found)}")
        finally:
            # What is finished is listed, whatever ends the import; the same command goes on from there.
            folder.list_cells()
    return Imported(count, paired, refused)


def _check(asked: Asked, known: dict[str, Any] | None) -> None:
    if not is_component(asked.name) or asked.name in registry.found("strategies"):
        raise CampaignError(
            f"--name {asked.name!r}: give a name of letters, digits and dashes that is no strategy's; it is the arm's"
        )
    for name in asked.suites:
        if name not in SUITES:
            raise CampaignError(f"--suite {name}: looks at no films; allowed: {', '.join(SUITES)}")
    if known is not None and has_known_world(known["asked"]):
        raise CampaignError(
            f"--out: a campaign of {known['asked']['backbone']}, whose rollouts are compared with its own world and "
            "make no films; give another folder"
        )


def _suites(known: dict[str, Any] | None) -> tuple[str, ...]:
    there = [name for name in SUITES if known is not None and name in known["asked"]["suite_versions"]]
    return tuple(there) or ("drift", "interactive")


def _scratch(store: Store) -> Path:
    store.flight.mkdir(parents=True, exist_ok=True)
    return store.flight


@contextmanager
def _mapped(workers: int) -> Iterator[Callable[[Sequence[Job]], Iterator[Measured | str]]]:
    """Yield a function that reads films, in their order, in so many processes."""
    if workers < 2:
        yield lambda jobs: map(measured, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        yield lambda jobs: pool.map(measured, jobs)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _words(found: Measured) -> str:
    source = found.source
    notes = [
        f"{found.pictures / float(source.rate):.1f} s, {float(source.rate):g} pictures a second",
        f"{source.width}x{source.height}",
        *(["turned"] if source.turned else []),
        *(["laid over black"] if source.transparent else []),
        *(["sampled by time"] if not source.steady else []),
        *([] if source.plain else ["read into a lossless copy"]),
    ]
    return ", ".join(notes)
