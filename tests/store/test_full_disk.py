"""A disk that is full is no cell's fault, and every message about it names the file that found no room."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.engines.outcome import is_full
from harness.films.writer import VideoWriter
from harness.store.store import Store
from harness.suite import Sample
from tests.full_disk import no_file_above
from tests.toy import ABOUT


@pytest.fixture
def store(tmp_path):
    (tmp_path / "flight").mkdir()
    (tmp_path / "cells").mkdir()
    return Store(tmp_path)


STATE = {"rollout": torch.zeros(20_000), "observer": [torch.zeros(10)] * 3, "environments": ["a"]}


def test_a_state_that_finds_no_room_is_an_error_of_the_system_wherever_the_room_ends(store):
    store.save("a", STATE)
    whole = store.workspace("a").with_name("a.pt").stat().st_size
    limits = [*range(1, whole, whole // 50), *range(whole - 1500, whole, 37), whole - 1]
    for limit in limits:
        with no_file_above(limit), pytest.raises(OSError, match="File too large") as told:
            store.save("a", STATE)
        assert is_full(told.value)
        assert told.value.filename == str(store.flight / "a.pt")
    # What was saved before is there all the same.
    assert torch.equal(store.saved("a")["rollout"], STATE["rollout"])
    assert [path.name for path in store.flight.iterdir()] == ["a.pt"]


def test_what_is_wrong_with_a_state_itself_is_not_taken_for_a_full_disk(store, monkeypatch):
    def broken(*_):
        raise RuntimeError("cannot be saved")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(RuntimeError, match="cannot be saved"):
        store.save("a", STATE)


@pytest.mark.parametrize(
    ("limit", "pictures", "name"),
    [(100, {}, "record.jsonl"), (20_000, {"strip": True}, "pictures.npz"), (20_000, {}, "cell.json")],
)
def test_a_cell_that_finds_no_room_names_the_file(store, limit, pictures, name):
    noise = np.random.default_rng(0).random((100, 100))
    samples = [Sample(0, "level", number, 0.5) for number in range(400)]
    about = {**ABOUT, "note": "x" * 30_000}
    with no_file_above(limit), pytest.raises(OSError, match="File too large") as told:
        store.finish("a", about, samples, dict.fromkeys(pictures, noise))
    assert is_full(told.value)
    assert told.value.filename == str(store.folder / "cells" / "a" / name)
    assert store.find("a") is None


@pytest.mark.parametrize("limit", [1, 100, 600, 5_000])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_film_that_finds_no_room_says_so_and_not_what_followed_from_it(tmp_path, limit, suffix):
    def film():
        with VideoWriter(tmp_path / f"f.{suffix}", 4.0, lossless=suffix == "mkv") as video:
            while True:
                video.write(torch.rand(2, 3, 48, 64))

    with no_file_above(limit), pytest.raises(OSError, match="File too large") as told:
        film()
    assert told.value.errno == errno.EFBIG


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("folder", ["", "absolute"])
def test_a_film_that_finds_no_room_is_named_as_it_was_asked_for(tmp_path, monkeypatch, suffix, folder):
    monkeypatch.chdir(tmp_path)
    path = (tmp_path if folder else Path()) / f"f.{suffix}"
    pictures = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))

    def film():
        video = VideoWriter(path, 4.0, lossless=suffix == "mkv")
        for _ in range(8):
            video.write(pictures)
            video.cut()
        return video

    # A piece that does not fit, then pieces that do and a whole that does not.
    with no_file_above(600), pytest.raises(OSError, match="File too large") as told:
        film()
    assert told.value.filename == str(path)
    video = film()
    largest = max(each.stat().st_size for each in tmp_path.glob("f.*.part.*"))
    with no_file_above(largest), pytest.raises(OSError, match="File too large") as told:
        video.close()
    assert told.value.filename == str(path)
    video.close()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
