"""Processes that this one starts: with the same code, and gone when this one is gone.

A child holds the reading end of a pipe as its standard input. Nothing is ever written into it: when it ends, whatever
became of the parent, the child leaves too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
from harness.provenance import is_checkout

PYTHON = (sys.executable, "-P")
"""Python, which keeps the folder in which it is started out of the search for modules: a folder of the user's that is
called `harness` or `strategies` must not stand in for the package."""


def environment_of_child() -> dict[str, str]:
    """Variables with which a child imports the code that this process has imported."""
    found = dict(os.environ)
    root = Path(harness.__file__).resolve().parents[1]
    if is_checkout(root):
        paths = [str(root), *found.get("PYTHONPATH", "").split(os.pathsep)]
        found["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
    return found


@contextmanager
def child(
    command: Sequence[str], *, variables: Mapping[str, str] | None = None, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """A child process as `subprocess.Popen` makes it; it is killed when the block ends, if it is still there.

    variables: of its environment, beside those of this process.
    """
    reading, writing = os.pipe()
    try:
        environment = {**environment_of_child(), **(variables or {})}
        process = subprocess.Popen(command, stdin=reading, text=True, env=environment, **options)
    finally:
        os.close(reading)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        os.close(writing)


def leave_with_parent() -> None:
    """In a child: end this process as soon as the parent is gone."""

    def wait() -> None:
        # The end of the pipe, or a parent that gave no pipe at all.
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
