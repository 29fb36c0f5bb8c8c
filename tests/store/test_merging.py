"""Folders put together: what comes is what was measured, and two who put together at once lose nothing."""

import errno
import hashlib
import json
import multiprocessing
import shutil

import pytest

from harness.errors import StoreError
from harness.store import merging
from harness.store.cells import CELL
from harness.store.merging import merge
from harness.store.store import Store
from tests.bad_inputs.made import CELL as FIRST
from tests.bad_inputs.made import campaign
from tests.store.test_full_disk import no_file_above


@pytest.fixture
def made(tmp_path):
    return campaign(tmp_path / "x")


def film(folder, name="0.mp4"):
    return folder / "cells" / FIRST / "files" / name


REMEDY = "after its cell was finished; restore it, or move .* out of the campaign's folder and run the same command"


def test_a_film_that_was_changed_gets_no_sum(made, tmp_path):
    film(made).write_bytes(b"another film")
    with pytest.raises(StoreError, match=rf"0.mp4: it was changed {REMEDY}"):
        merge(tmp_path / "z", [made])
    assert not (tmp_path / "z").exists()


@pytest.mark.parametrize("other", [None, "folder"])
def test_a_film_that_is_gone_is_missed(made, tmp_path, other):
    film(made).unlink()
    if other:
        film(made).mkdir()
    with pytest.raises(StoreError, match=rf"0.mp4: it was removed {REMEDY}"):
        merge(tmp_path / "z", [made])
    assert not (tmp_path / "z").exists()


def test_what_no_cell_was_finished_with_is_left_and_named(made, tmp_path):
    film(made, "stray\n*.txt").write_text("a", encoding="utf-8")
    (film(made, "sub") / "deep").mkdir(parents=True)
    came, left = merge(tmp_path / "z", [made])
    assert came == 4
    assert [each.endswith(": not a file of the finished cell") for each in left] == [True, True]
    assert "sub" in left[1]
    assert not any("\n" in each for each in left)
    cell = Store(tmp_path / "z").find(FIRST)
    assert [path.name for path in cell.files()] == ["0.mp4", "windows.json"]
    # It can be merged on, and says the same as before.
    assert merge(tmp_path / "again", [tmp_path / "z"]) == (4, [])
    told = [json.loads((each / "cells" / FIRST / CELL).read_text(encoding="utf-8")) for each in (made, tmp_path / "z")]
    assert told[0] == told[1]


def test_what_a_run_had_begun_in_the_target_is_no_part_of_what_comes(made, tmp_path):
    target = Store(tmp_path / "z")
    target.join([Store(made).manifest()])
    target.workspace(FIRST).mkdir(parents=True)
    (target.workspace(FIRST) / "half.mp4").write_bytes(b"half a film")
    merge(tmp_path / "z", [made])
    assert [path.name for path in target.find(FIRST).files()] == ["0.mp4", "windows.json"]
    assert not target.workspace(FIRST).exists()


def test_a_full_disk_names_the_file_and_leaves_no_half_cell(made, tmp_path):
    large = b"x" * 300_000
    film(made).write_bytes(large)
    path = made / "cells" / FIRST / CELL
    about = json.loads(path.read_text(encoding="utf-8"))
    about["files"]["0.mp4"] = hashlib.sha256(large).hexdigest()
    path.write_text(json.dumps(about), encoding="utf-8")
    with no_file_above(200_000), pytest.raises(StoreError) as told:
        merge(tmp_path / "z", [made])
    assert str(told.value).startswith(f"{film(tmp_path / 'z')}: File too large; make room there")
    assert Store(tmp_path / "z").find(FIRST) is None
    assert not list((tmp_path / "z" / "cells").glob(".*"))
    assert merge(tmp_path / "z", [made]).cells > 0


def _merged(target, source, go, told):
    go.wait()
    try:
        told.put(tuple(merge(target, [source])))
    except BaseException as error:
        told.put(repr(error))


def test_two_who_merge_into_one_folder_at_once_lose_nothing(tmp_path):
    sources = [campaign(tmp_path / "1", range(12)), campaign(tmp_path / "2", range(12))]
    context = multiprocessing.get_context("spawn")
    go, told = context.Event(), context.Queue()
    jobs = [context.Process(target=_merged, args=(tmp_path / "z", source, go, told)) for source in sources]
    for job in jobs:
        job.start()
    go.set()
    found = [told.get(timeout=120) for _ in jobs]
    for job in jobs:
        job.join()
    assert [left for _, left in found] == [[], []], found
    assert sum(came for came, _ in found) == 24
    assert all(len(cell.files()) == 2 for cell in Store(tmp_path / "z").cells())
    assert len(list(Store(tmp_path / "z").cells())) == 24


def test_a_cell_that_another_process_has_is_waited_for_and_then_named(made, tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "PATIENCE", 0)
    target = Store(tmp_path / "z")
    target.join([Store(made).manifest()])
    with target.claim(FIRST):
        came, left = merge(tmp_path / "z", [made])
    assert (came, left) == (3, [f"{made / 'cells' / FIRST}: another process is running this cell in {tmp_path / 'z'}"])
    assert merge(tmp_path / "z", [made]) == (1, [])


def test_a_cell_that_was_finished_meanwhile_stays(made, tmp_path, monkeypatch):
    other, into = campaign(tmp_path / "y"), Store(tmp_path / "z")
    into.join([Store(made).manifest()])
    cell = Store(made).find(FIRST)
    shutil.copytree(other / "cells" / FIRST, tmp_path / "z" / "cells" / FIRST)
    there, left = merging._bring(into, cell)
    assert (there.folder, left) == (tmp_path / "z" / "cells" / FIRST, [])
    monkeypatch.setattr(type(cell), "samples", lambda self: [self.folder])
    there, left = merging._bring(into, cell)
    assert left == [f"{made / 'cells' / FIRST}: another process finished this cell meanwhile with different samples"]


def test_other_errors_of_the_system_are_one_line_too(made, tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(merging, "unite", refused)
    with pytest.raises(StoreError, match="z: Input/output error; make room there, or give another folder"):
        merge(tmp_path / "z", [made])
