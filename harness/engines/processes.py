"""Worker processes that share a campaign with this one: they run the same command and are watched until all is done."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import STDOUT, Popen

from harness.engines.children import child
from harness.engines.lifeline import RUN
from harness.files import own

EVERY = 0.5
"""Seconds between checks of the workers."""


def run_name() -> str | None:
    """Return the name of the run of which this process is a worker; None for the process that the user started."""
    return os.environ.get(RUN)


@contextmanager
def workers(count: int, name: str, folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Run `count` more processes of this command while the block runs.

    Parameters
    ----------
    count
        Number of workers besides this process.
    name
        Name of the run.
    folder
        Folder of their logs.
    tell
        Called with one line for each worker that ends with an error; the remaining processes take its cells over.
    """
    command, over = [sys.executable, *sys.orig_argv[1:], "--workers", "1"], threading.Event()
    with ExitStack() as stack:
        stack.callback(over.set)
        started = []
        for number in range(1, count + 1):
            log = own(folder, f"worker-{number}.log")
            said = stack.enter_context(log.open("w", encoding="utf-8"))
            process = stack.enter_context(child(command, stdout=said, stderr=STDOUT, variables={RUN: name}))
            started.append((f"worker {number} of {count}", process, log))
        watch = threading.Thread(target=_watch, args=(started, over, tell), daemon=True)
        watch.start()
        yield
        over.set()
        watch.join()
        # A worker may have died since the last check.
        _watch(started, over, tell)


def _watch(started: list[tuple[str, Popen[str], Path]], over: threading.Event, tell: Callable[[str], None]) -> None:
    """Report every process that ended with an error, once, until `over` is set."""
    while True:
        for each in list(started):
            worker, process, log = each
            if process.poll() is not None:
                started.remove(each)
                if process.returncode:
                    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                    said = lines[-1] if lines else "it printed nothing"
                    tell(f"{worker} ended with {process.returncode}: {said} (its whole output is in {log})")
        if over.wait(0 if over.is_set() else EVERY):
            return
