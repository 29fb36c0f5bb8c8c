"""Further processes that share a campaign with this one: the same command, watched until all cells are done."""

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
"""Seconds between looks at the workers."""


def run_name() -> str | None:
    """The name of the run that this process is a worker of; None for the one that was asked."""
    return os.environ.get(RUN)


@contextmanager
def workers(count: int, name: str, folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Keep `count` more processes of this command while the block runs.

    Parameters
    ----------
    name: of the run. folder: of their logs. tell: told in one line of each that ends with an error; its cells are
        taken over by those that are left, this process among them.
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
        # One that died between the last look and the end.
        _watch(started, over, tell)


def _watch(started: list[tuple[str, Popen[str], Path]], over: threading.Event, tell: Callable[[str], None]) -> None:
    """Tell of every process that ended with an error, once; until it is over."""
    while True:
        for each in list(started):
            who, process, log = each
            if process.poll() is not None:
                started.remove(each)
                if process.returncode:
                    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                    said = lines[-1] if lines else "it said nothing"
                    tell(f"{who} ended with {process.returncode}: {said} (all of it is in {log})")
        if over.wait(0 if over.is_set() else EVERY):
            return
