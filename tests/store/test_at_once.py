"""What is read, changed and written belongs to one process meanwhile: nobody's part is lost."""

import multiprocessing

import pytest

from harness.errors import StoreError
from harness.films import view_files
from harness.films.view_files import Part, View, add, unite, views
from reports.gate.evidence import accept, read
from tests.reports.made import evidence, whole

VIEW = View("a-0", "0" * 64)


def at_once(work, *arguments):
    """Do something in two processes that begin together."""
    context = multiprocessing.get_context("spawn")
    go = context.Barrier(2)
    jobs = [context.Process(target=work, args=(go, number, *arguments)) for number in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(timeout=120)
    assert [job.exitcode for job in jobs] == [0, 0]


def _see(go, number, folder):
    go.wait()
    for metric in range(60):
        add(folder, "perceptual", VIEW, f"{number}-{metric}", Part(((3, 0.5),)), {})


@pytest.mark.nightly
def test_two_viewers_of_one_film_at_once_lose_nothing(tmp_path):
    at_once(_see, tmp_path)
    ((_, found),) = views(tmp_path)
    assert len(found.parts) == 120


def _accept(go, number, file):
    run = evidence(whole(number))
    go.wait()
    for turn in range(8):
        accept(run, file, f"{number}-{turn}", "Ada")


def test_two_who_accept_at_once_come_one_behind_the_other(tmp_path):
    file = tmp_path / "base.parquet"
    at_once(_accept, file)
    assert {note["why"] for note in read(file).accepted} == {f"{n}-{turn}" for n in range(2) for turn in range(8)}


def test_what_was_seen_while_folders_are_merged_stays(tmp_path):
    add(tmp_path, "perceptual", VIEW, "dino", Part(((3, 0.5),)), {})
    other = View("a-0", "0" * 64, {"clip": Part(((3, 0.25),)), "dino": Part(((3, 0.5),))}, {"clip": {}, "dino": {}})
    assert unite(tmp_path, [("perceptual", other)]) == []
    ((_, found),) = views(tmp_path)
    assert set(found.parts) == {"dino", "clip"}
    differing = View("a-0", "0" * 64, {"dino": Part(((3, 0.75),))}, {"dino": {}})
    assert unite(tmp_path, [("perceptual", differing)]) == ["perceptual: one of two differing values of dino in a-0"]


def test_a_lock_is_not_taken_through_a_link(tmp_path):
    (tmp_path / "views" / "perceptual").mkdir(parents=True)
    (tmp_path / "views" / "perceptual" / ".a-0.lock").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".base.parquet.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="a link to"):
        add(tmp_path, "perceptual", VIEW, "dino", Part(((3, 0.5),)), {})
    with pytest.raises(StoreError, match="a link to"):
        accept(evidence(whole(1)), tmp_path / "base.parquet", "why", "Ada")
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_system_without_locks_is_one_line(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(view_files.fcntl, "flock", refused)
    with pytest.raises(StoreError, match=r"its file system refuses locks \(No locks available\); give a folder on"):
        add(tmp_path, "perceptual", VIEW, "dino", Part(((3, 0.5),)), {})
