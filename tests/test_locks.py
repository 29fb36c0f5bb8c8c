import errno
import fcntl
import os
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.locks import has_locks, lock
from harness.store.claims import held
from harness.store.store import Store
from tests import toy


def test_a_lock_is_held_once_and_freed(tmp_path):
    with lock(tmp_path / "a.lock") as mine, lock(tmp_path / "a.lock", wait=False) as second:
        assert (mine, second) == (True, False)
    with lock(tmp_path / "a.lock", wait=False) as again:
        assert again


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_used_by_leases(tmp_path, monkeypatch, number):
    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    store = Store(tmp_path)
    store.begin({"name": "x", "asked": {**toy.ASKED, "cells": []}, "environment": {}})
    with store.claim("a") as mine, store.claim("a") as other:
        assert (mine, other) == (True, False)
        assert held(tmp_path / "flight").keys() == {"a"}
    with lock(tmp_path / "a.lock") as mine, lock(tmp_path / "a.lock", wait=False) as second:
        assert (mine, second) == (True, False)
    assert not has_locks(tmp_path)
    monkeypatch.undo()
    assert has_locks(tmp_path)


@pytest.mark.parametrize("wait", [True, False])
def test_where_no_lock_can_be_made_nobody_else_is_blamed(wait):
    with (
        pytest.raises(StoreError, match=r"^/proc: this user cannot write there \(.*\); give a folder that is writable"),
        lock(Path("/proc/horizon.lock"), wait=wait),
    ):
        pass
