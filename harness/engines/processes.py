"""Worker processes that share a campaign with this one: they run the same command, each on a device of its own, and are
watched until all is done."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import STDOUT, Popen

from harness.engines.children import child
from harness.engines.lifeline import RUN
from harness.engines.sharing.devices import Place
from harness.files import own

EVERY = 0.5
"""Seconds between checks of the workers."""
LAST = 5
"""Lines of a dead worker's output that are shown."""
ONE = ("--engine", "inline", "--workers", "1")
"""Options with which a worker runs the command: it starts no further workers."""


@dataclass
class Team:
    """The workers of a run. dead: names of those that ended with an error."""

    dead: list[str] = field(default_factory=list)


def run_name() -> str | None:
    """Return the name of the run of which this process is a worker; None for the process that the user started."""
    return os.environ.get(RUN)


@contextmanager
def workers(places: Sequence[Place], name: str, folder: Path, tell: Callable[[str], None]) -> Iterator[Team]:
    """Run a worker at each of these places while the block runs.

    Parameters
    ----------
    places
        Places of the workers besides this process.
    name
        Name of the run.
    folder
        Folder of their logs.
    tell
        Called with lines about each worker that ends with an error; the remaining processes take its cells over.
    """
    command, over, team = [sys.executable, *sys.orig_argv[1:], *ONE], threading.Event(), Team()
    with ExitStack() as stack:
        stack.callback(over.set)
        started = []
        for number, place in enumerate(places, 1):
            log = own(folder, f"worker-{number}.log")
            said = stack.enter_context(log.open("w", encoding="utf-8"))
            variables = {RUN: name, **place.variables()}
            process = stack.enter_context(child(command, stdout=said, stderr=STDOUT, variables=variables))
            started.append((f"worker {number} of {len(places)}", process, log))

        def watch() -> None:
            _watch(started, over, team, tell)

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        yield team
        over.set()
        watching.join()
        # A worker may have died since the last check.
        watch()


def _watch(
    started: list[tuple[str, Popen[str], Path]], over: threading.Event, team: Team, tell: Callable[[str], None]
) -> None:
    """Report every process that ended with an error, once, until `over` is set."""
    while True:
        for each in list(started):
            worker, process, log = each
            if process.poll() is not None:
                started.remove(each)
                if process.returncode:
                    team.dead.append(worker)
                    before, last = _last_lines(log)
                    for line in before:
                        tell(f"{worker}: {line}")
                    tell(f"{worker} ended with {process.returncode}: {last} (its whole output is in {log})")
        if over.wait(0 if over.is_set() else EVERY):
            return


def _last_lines(log: Path) -> tuple[list[str], str]:
    """Return the last lines of a worker's output: those before the last one, and the last one."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-LAST:-1], lines[-1] if lines else "it printed nothing"
