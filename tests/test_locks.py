import errno
import fcntl
import os
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.locks import lock
from harness.store.claims import held
from harness.store.store import Store
from tests import toy


def test_a_lock_is_held_once_and_freed(tmp_path):
    with lock(tmp_path / "a.lock") as mine, lock(tmp_path / "a.lock", wait=False) as second:
        assert (mine, second) == (True, False)
    with lock(tmp_path / "a.lock", wait=False) as again:
        assert again


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_with_what_helps(tmp_path, monkeypatch, number):
    (tmp_path / "flight").mkdir()
    (tmp_path / "flight" / "a.json").write_text("{}", encoding="utf-8")

    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    manifest = {"name": "x", "asked": {**toy.ASKED, "cells": []}, "environment": {}}
    for act in (
        lambda: Store(tmp_path).begin(manifest),
        lambda: Store(tmp_path).claim("a").__enter__(),
        lambda: held(tmp_path / "flight"),
    ):
        with pytest.raises(StoreError, match=r"its file system refuses locks \(.*\); give a folder on a local disk"):
            act()


@pytest.mark.parametrize("wait", [True, False])
def test_where_no_lock_can_be_made_nobody_else_is_blamed(wait):
    with (
        pytest.raises(StoreError, match=r"^/proc: this user cannot write there \(.*\); give a folder that is writable"),
        lock(Path("/proc/horizon.lock"), wait=wait),
    ):
        pass
