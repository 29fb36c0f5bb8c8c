"""A bad input: its files, its command, and the check that the answer is one clear line and changes nothing."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import cli

PATIENCE = 30
"""Seconds after which a command hangs."""
LONGEST_LINE = 700
"""Letters beyond which a message is no clear line."""
Setup = Callable[[Path], object]


@dataclass(frozen=True)
class Bad:
    """A bad input.

    id: names it. argv: the command. words: a regular expression that its message holds. setup: makes the files that it
    needs in an empty folder, in which the command then runs. call: what runs instead of a command of this name, for
    what no command reaches without minutes of work. env: variables; None removes one.
    """

    id: str
    argv: tuple[str, ...]
    words: str
    setup: Setup = lambda folder: None
    call: Callable[[], object] | None = None
    env: tuple[tuple[str, str | None], ...] = ()


class HangsError(BaseException):
    """The command does not end: it waits for a pipe, or it has begun to run a campaign."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise HangsError if the block takes longer."""

    def stop(number: int, frame: object) -> None:
        raise HangsError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def listing(folder: Path) -> dict[str, str]:
    """Return everything in a folder: kind and contents by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            told = f"link to {os.readlink(path)}"
        elif stat.S_ISREG(mode):
            told = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            told = oct(stat.S_IFMT(mode))
        found[str(path.relative_to(folder))] = told
    return found


def faults(code: Any, out: str, err: str, words: str, before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the faults of the answer to a bad input; none for one clear line, exit code 2, and no changed file."""
    found = []
    if code != 2:
        found.append(f"exit code {code}")
    if "Traceback" in out + err:
        found.append("a traceback")
    if out:
        found.append(f"output: {out[:200]!r}")
    if not (err.startswith("horizon: ") and err.endswith("\n") and err.count("\n") == 1):
        found.append(f"not one line: {err[-1500:]!r}")
    if len(err) > LONGEST_LINE:
        found.append(f"a line of {len(err)} letters: {err[:300]!r}")
    if not re.search(words, err):
        found.append(f"not the words {words!r}: {err[:500]!r}")
    changed = sorted({name for name in before.keys() | after.keys() if before.get(name) != after.get(name)})
    if changed:
        found.append(f"changed: {', '.join(changed)}")
    return found


def answer(bad: Bad, folder: Path, monkeypatch: Any, capfd: Any) -> list[str]:
    """Run the command of a bad input in this process, in an empty folder; return the faults of its answer."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HORIZON_CACHE", str(folder / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.delenv("HORIZON_WEIGHTS", raising=False)
    for name, value in bad.env:
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    bad.setup(folder)
    before = listing(folder)
    if bad.call is not None:
        monkeypatch.setattr(cli, "command_line", lambda: lambda words, standalone_mode: bad.call())
    monkeypatch.setattr(sys, "argv", ["horizon", *bad.argv])
    capfd.readouterr()
    code: Any = "no exit"
    with within(PATIENCE):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        except HangsError:
            code = f"none within {PATIENCE} s"
    out, err = capfd.readouterr()
    return faults(code, out, err, bad.words, before, listing(folder))
