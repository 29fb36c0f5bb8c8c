"""The viewers that can run in Horizon's own environment, over a campaign's films, in one process or several."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from harness.films.contract import Film
from suites.viewers.perceptual import run as perceptual
from suites.viewers.plain import run as plain
from suites.viewers.watching import watch


def look(folder: Path, films: Sequence[Film], workers: int, report: Callable[[str], None]) -> int:
    """Measure films: all that needs no other model, and what of the perceptual viewer has its packages and files here.

    Parameters
    ----------
    folder
        The campaign's folder.
    films
        Its films.
    workers
        Processes.
    report
        Called with each line about a film or a metric that is skipped.

    Returns
    -------
    int
        How many metrics of films failed.
    """
    if workers < 2:
        failed, told = _plainly(folder, films)
        for line in told:
            report(line)
    else:
        failed = 0
        parts = [films[place::workers] for place in range(min(workers, len(films)))]
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for faults, told in pool.map(partial(_plainly, folder), parts):
                failed += faults
                for line in told:
                    report(line)
    options = argparse.Namespace(
        device="cpu", clip="openai/clip-vit-large-patch14", dino="facebook/dinov2-base", raft=False, pnet_rand=False
    )
    by = perceptual.instruments(options, folder)
    return failed + watch(folder, films, list(by), by, perceptual.VIEWER, report)


def _plainly(folder: Path, films: Sequence[Film]) -> tuple[int, list[str]]:
    """Measure films with the plain viewer. Return how many metrics failed, and a line for each film."""
    told: list[str] = []
    by = plain.instruments(None, folder)
    return watch(folder, films, list(by), by, plain.VIEWER, told.append), told
