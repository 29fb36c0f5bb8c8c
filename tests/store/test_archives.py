"""What a memory has put away is written once, and is found again whenever the process that writes it is killed."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.store import archives
from tests.full_disk import no_file_above
from tests.killing import ROOT


def grown(count: int) -> dict[str, Tensor]:
    """An archive after so many tensors."""
    return {f"{number}.0": torch.full((4,), number) for number in range(count)}


def check(path: Path, count: int) -> dict[str, Any]:
    """Raise AssertionError unless the state that is there goes on with so many tensors, in order."""
    state = archives.saved(path)
    assert state is not None
    assert state["count"] == count
    expected = grown(count)
    assert list(state["archive"]) == list(expected)
    assert all(torch.equal(state["archive"][name], x) for name, x in expected.items())
    return state


def files(path: Path) -> dict[str, int]:
    """The pieces that are there, and when they were written."""
    return {each.name: each.stat().st_mtime_ns for each in path.with_suffix(".archive").glob("*")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.pt"


def test_only_what_is_new_is_written(path: Path) -> None:
    pieces = archives.save(path, {"count": 5}, grown(5), [])
    before = files(path)
    pieces = archives.save(path, {"count": 5}, grown(5), pieces)
    assert files(path) == before
    pieces = archives.save(path, {"count": 9}, grown(9), pieces)
    assert [count for _, count in pieces] == [5, 4]
    assert files(path).keys() == {name for name, _ in pieces}
    assert files(path).items() >= before.items()
    check(path, 9)
    archives.remove(path)
    assert list(path.parent.iterdir()) == []
    assert archives.saved(path) is None


def test_a_state_without_an_archive_is_a_file_and_nothing_else(path: Path) -> None:
    assert archives.save(path, {"count": 0}, {}, []) == []
    check(path, 0)
    assert [each.name for each in path.parent.iterdir()] == ["a.pt"]


def test_a_state_whose_pieces_are_not_all_there_is_none(path: Path) -> None:
    pieces = archives.save(path, {"count": 5}, grown(5), [])
    piece = path.with_suffix(".archive") / pieces[0][0]
    whole = piece.read_bytes()
    piece.write_bytes(whole[: len(whole) // 2])
    assert archives.saved(path) is None
    piece.unlink()
    assert archives.saved(path) is None
    piece.write_bytes(whole)
    check(path, 5)


@pytest.mark.parametrize("until", ["piece", "state", "sweep"])
def test_a_process_that_dies_anywhere_leaves_a_state_with_all_its_pieces(
    path: Path, until: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies before a file is renamed to its place, or before what is no longer needed is removed."""
    archives.save(path, {"count": 2}, grown(2), [])
    pieces = archives.save(path, {"count": 5}, grown(5), archives.saved(path)["pieces"])  # type: ignore[index]

    def dies(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        if until == "sweep":
            patched.setattr(archives, "_sweep", dies)
        else:
            write = archives.write_whole
            stops = path.with_suffix(".archive") if until == "piece" else path.parent
            patched.setattr(archives, "write_whole", lambda at, how: dies() if at.parent == stops else write(at, how))
            # A killed process does not clean up after itself.
            patched.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(SystemExit):
            archives.save(path, {"count": 7}, grown(7), pieces)
    reached = 7 if until == "sweep" else 5
    state = check(path, reached)
    # The next process goes on from there, and leaves nothing behind that no state needs.
    pieces = archives.save(path, {"count": 8}, grown(8), state["pieces"])
    check(path, 8)
    assert files(path).keys() == {name for name, _ in pieces}


def test_a_state_of_other_code_stays_what_it_is_until_it_is_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other code begins the cell anew: its pieces must not take the place of those that the old state names."""
    archives.save(path, {"count": 5}, grown(5), [])
    with monkeypatch.context() as patched:
        patched.setattr(archives, "write_state", lambda state, at: torch.save(dict(state), at))
        write = archives.write_whole

        def stopped(at: Path, how: Any) -> None:
            if at == path:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(at, how)

        patched.setattr(archives, "write_whole", stopped)
        with pytest.raises(OSError, match="No space left"):
            archives.save(path, {"count": 3}, {f"{n}.0": torch.zeros(1) for n in range(3)}, [])
    check(path, 5)
    assert len(files(path)) == 1


def test_a_full_disk_leaves_the_old_state_and_no_half_of_a_new_one(path: Path) -> None:
    pieces = archives.save(path, {"count": 5}, grown(5), [])
    for limit in range(1, 1500, 97):
        with no_file_above(limit), pytest.raises(OSError, match="File too large"):
            archives.save(path, {"count": 9}, grown(9), pieces)
        check(path, 5)
        assert len(files(path)) == 1


WRITER = """
import sys
from pathlib import Path
from harness.store import archives
from tests.store.test_archives import grown
path = Path(sys.argv[1])
state = archives.saved(path) or {"count": 0, "pieces": []}
count, pieces = state["count"], state["pieces"]
while True:
    count += 1
    pieces = archives.save(path, {"count": count}, grown(count), pieces)
"""


@pytest.mark.nightly
def test_a_process_that_is_killed_at_any_moment_can_be_gone_on_with(path: Path) -> None:
    reached = 0
    for kill in range(5):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT)
        deadline = time.monotonic() + 60
        before = (archives.saved(path) or {"count": 0})["count"]
        while time.monotonic() < deadline and not (path.exists() and _count(path) > before):
            time.sleep(0.01)
        time.sleep(0.01 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
        state = archives.saved(path)
        assert state is not None
        check(path, state["count"])
        assert state["count"] > reached
        reached = state["count"]


def _count(path: Path) -> int:
    state = torch.load(path, weights_only=True)
    return int(state["count"])
