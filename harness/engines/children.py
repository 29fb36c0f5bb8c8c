"""Child processes: they import the same code as this process, and end with it (`harness.engines.lifeline`)."""

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
"""Beginning of a command that runs a module; the module's name and arguments follow. The current folder is excluded
from the search for modules, because a user's folder `harness` or `strategies` must not replace the package."""


def environment_of_child() -> dict[str, str]:
    """Return the environment variables with which a child imports the same code as this process."""
    # Both processes exchange UTF-8, whatever the locale.
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
    """Start a child process; if it is still running when the block ends, it is killed.

    Parameters
    ----------
    command
        The command.
    variables
        Environment variables in addition to those of this process.
    **options
        Options of `subprocess.Popen`.
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
