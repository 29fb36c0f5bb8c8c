"""Agreement of all processes of a run: its code, and the kind of machine that measures."""

from types import SimpleNamespace

import pytest

from harness.engines.sharing import agreement
from harness.engines.sharing.agreement import agreed, check_code, measures_here
from harness.errors import CampaignError, StoreError
from harness.files import write_new
from harness.store.abilities import abilities, file_system
from harness.store.store import Store
from tests import toy

HERE = {"machine": "n1", "code": {"commit": "a" * 40}}


def cells(code):
    return [SimpleNamespace(id="c", code=SimpleNamespace(all=SimpleNamespace(digest=code)))]


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "c")
    found.begin({"name": "c", "asked": {**toy.ASKED, "cells": ["c"]}, "environment": {}})
    return found


def test_a_machine_with_another_commit_is_refused(store):
    check_code(store, cells("1"), "run", HERE)
    check_code(store, cells("1"), "run", {"machine": "n2"})
    other = {"machine": "n2", "code": {"commit": "b" * 40}}
    with pytest.raises(
        CampaignError, match=r"another machine of this run, n1, has Horizon at aaaaaaaaaaaa, .*bbbbbbbb"
    ):
        check_code(store, cells("2"), "run", other)
    # Another run in the same folder may have other code, but not at the same time.
    check_code(store, cells("2"), "later", other)
    with (
        store.claim("c", {"cell": "c", "arm": "memrope", "suite": "drift", "frames": 3, "code": "1"}),
        pytest.raises(CampaignError, match=r"process \d+ on .* runs memrope in this folder with other code"),
    ):
        check_code(store, cells("2"), None, other)


def test_one_kind_of_machine_measures(store, monkeypatch):
    stage = toy.backbone()
    assert measures_here(store, "run", stage) is None
    assert measures_here(store, "run", stage) is None
    monkeypatch.setattr(agreement, "cpu", lambda: "another CPU")
    assert "another CPU" not in measures_here(store, "run", stage)
    assert measures_here(store, "later", stage) is None


def test_the_first_answer_counts(tmp_path, monkeypatch):
    assert agreed(tmp_path, "a b", {"x": 1}) == {"x": 1}
    assert agreed(tmp_path, "a b", {"x": 2}) == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a_b"]

    def none(*_):
        raise OSError("no links here")

    monkeypatch.setattr("os.link", none)
    assert write_new(tmp_path / "new", "text")
    assert not write_new(tmp_path / "new", "other")
    assert (tmp_path / "new").read_text(encoding="utf-8") == "text"


def test_a_line_says_what_the_file_system_can_do(store, monkeypatch):
    mounts = [("/", "ext4"), (str(store.folder.parent), "nfs4"), ("/elsewhere", "tmpfs")]
    found = [SimpleNamespace(mountpoint=point, fstype=kind) for point, kind in mounts]
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: found)
    assert file_system(store.folder) == "nfs4"
    said = abilities(store.folder, store.flight)
    assert "is on nfs4 (several machines may share it; locks of files): the cell of a process that dies" in said
    monkeypatch.setattr("harness.store.abilities.has_locks", lambda folder: False)
    assert "no locks of files" in abilities(store.folder, store.flight)


def test_a_folder_that_is_not_writable_from_here_is_refused(store, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).endswith("cells"))
    with pytest.raises(StoreError, match=r"cannot write to .*cells from here; all machines of a run must be able to"):
        store.begin({"name": "c", "asked": {**toy.ASKED, "cells": ["c"]}, "environment": {}})
