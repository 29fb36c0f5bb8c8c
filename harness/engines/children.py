"""Processes that this one starts: with the same code, and gone when this one is gone (`harness.engines.lifeline`)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
from harness.provenance.code import is_checkout

MODULE = (sys.executable, "-P", "-m", "harness.engines.lifeline")
"""Runs a module, whose name and arguments follow. The folder in which Python is started is kept out of the search for
modules: one of the user's that is called `harness` or `strategies` must not stand in for the package."""


def environment_of_child() -> dict[str, str]:
    """Variables with which a child imports the code that this process has imported."""
    # What the two say to each other is UTF-8, whatever the locale.
    found = {**os.environ, "PYTHONIOENCODING": "utf-8"}
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
        process = subprocess.Popen(
            command, stdin=reading, encoding="utf-8", errors="replace", env=environment, **options
        )
    finally:
        os.close(reading)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        os.close(writing)
