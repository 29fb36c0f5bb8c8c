"""Processes that are stopped before their end, and checks of the files that they leave."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from harness.training.loop import read_log

ROOT = Path(__file__).parents[1]


def interruptible(command: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start a command that Ctrl-C can stop, also where the tests themselves run in the background, which cannot be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    finally:
        signal.signal(signal.SIGINT, before)


def killed_twice(code: str, folder: Path, *, steps: int = 60) -> None:
    """Run `code`, which trains in `folder`, killing it after 10 and after 40 steps; then let it end."""
    for until in (10, 40):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
        deadline = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < deadline:
            if (lines := read_log(folder)) and lines[-1]["step"] >= until:
                break
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert read_log(folder)[-1]["step"] < steps
    with (folder / "log.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"step": 59, "lo')  # as a kill in the middle of a line leaves it
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def same_ending(one: Path, other: Path, steps: int = 60) -> None:
    """Assert that two trainings ended with the same bits, and wrote the same log."""
    expected, ended = (_weights(folder) for folder in (one, other))
    assert expected.keys() == ended.keys()
    assert all(torch.equal(expected[name], ended[name]) for name in expected)
    assert [line["step"] for line in read_log(other)] == list(range(1, steps + 1))
    assert [line["loss"] for line in read_log(other)] == [line["loss"] for line in read_log(one)]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "state.pt", weights_only=True)
    return state["model"] | {f"mean.{name}": x for name, x in state["mean"].items()}
