"""Every bad input is answered by one clear line and exit code 2, and nothing is written or changed."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HorizonError
from tests.bad_inputs import campaigns, folders, made, memories, options, places, prompts, weights
from tests.bad_inputs.checker import Bad, answer, faults, listing

ROWS = [
    *options.ROWS,
    *campaigns.ROWS,
    *memories.ROWS,
    *prompts.ROWS,
    *folders.ROWS,
    *weights.ROWS,
    *places.ROWS,
]
LIMIT = 60
"""Seconds of a command in a process of its own."""


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    """No user has a home beside the one that HOME names, so that a test may have none."""

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.parametrize("bad", ROWS, ids=[bad.id for bad in ROWS])
def test_a_bad_input_is_one_line_and_changes_nothing(bad, tmp_path, monkeypatch, capfd):
    assert answer(bad, tmp_path, monkeypatch, capfd) == []


def test_there_are_more_than_a_hundred_and_each_has_a_name_of_its_own():
    assert len(ROWS) >= 100
    assert len({bad.id for bad in ROWS}) == len(ROWS)


def test_what_was_damaged_is_good_otherwise(tmp_path, monkeypatch, capfd):
    made.with_view(tmp_path / "x")
    made.campaign(tmp_path / "y", [2])
    for command in (["status", "x"], ["compare", "x"], ["films", "x"], ["merge", "z", "y", "x"]):
        good = Bad("good", tuple(command), "")
        found = answer(good, tmp_path, monkeypatch, capfd)
        assert "exit code 0" in found, (command, found)


def _raises() -> None:
    raise KeyError("asked")


def _half_written() -> None:
    Path("half.json").write_text("{", encoding="utf-8")
    raise HorizonError("half.json: it is written by half")


def _changed() -> None:
    Path("kept").write_text("other", encoding="utf-8")
    raise HorizonError("kept: it is another now")


def _talks() -> None:
    print("so far so good")
    print("horizon: a first line", file=sys.stderr)
    raise HorizonError("a second line")


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (_raises, ["exit code 70", "a traceback", "not one line"]),
        (_half_written, ["changed: half.json"]),
        (_changed, ["changed: kept"]),
        (_talks, ["output", "not one line"]),
        (lambda: None, ["exit code 0", "not one line"]),
        (lambda: os.mkfifo("pipe"), ["exit code 0", "changed: pipe"]),
    ],
)
def test_the_check_finds_what_it_is_there_for(call, wanted, tmp_path, monkeypatch, capfd):
    found = answer(Bad("x", ("x",), "", made.file("kept", "as it was"), call), tmp_path, monkeypatch, capfd)
    assert all(any(fault.startswith(want) for fault in found) for want in wanted), found


def test_other_words_are_a_fault():
    assert faults(2, "", "horizon: no\n", "yes", {}, {}) == ["not the words 'yes': 'horizon: no\\n'"]
    assert faults(2, "", f"horizon: {'no' * 999}\n", "no", {}, {})[0].startswith("a line of 2008 letters")


@pytest.mark.parametrize(
    ("argv", "setup", "words"),
    [
        (("compare", "x"), made.piped("manifest.json"), "not a regular file"),
        (("run", "--seed", str(2**64)), lambda here: None, "range"),
        (("merge", "z", "y", "x"), folders._to_merge(made.replaced(folders.RECORD, folders.LINE)), "not those"),
    ],
)
def test_a_process_of_its_own_says_the_same(argv, setup, words, tmp_path):
    setup(tmp_path)
    before = listing(tmp_path)
    command = [sys.executable, "-m", "harness.cli", *argv]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=LIMIT, check=False)
    assert faults(done.returncode, "", done.stderr, words, before, listing(tmp_path)) == []
