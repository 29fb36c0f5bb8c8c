"""Progress of a campaign."""

import pytest

from harness.campaign.status import status
from harness.errors import StoreError
from harness.store.store import Store
from tests import toy

ABOUT = {**toy.ABOUT, "strategy": "mine", "seconds": 10.0}


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "c")
    plan = {name: ["mine", "toy", "plain", 30, 2] for name in "abcd"} | {"e": ["mine", "clock", "stream", 60, 1]}
    asked = {**toy.ASKED, "cells": list("abcde")}
    found.begin({"name": "c", "asked": asked, "environment": {}, "plan": plan})
    return found


def test_cells_by_state_and_the_time_that_is_left(store):
    assert status(store).counts == {"waiting": 5}
    assert status(store).seconds_left is None
    store.finish("a", ABOUT, (), {})
    store.finish("b", {**ABOUT, "status": "failed", "reason": "no"}, (), {})
    # Nobody is at work, so nothing says when it ends.
    assert status(store).seconds_left is None
    with store.claim("c", {"cell": "c", "arm": "mine", "suite": "toy", "frames": 30}) as mine:
        assert mine
        store.progress("c", 15)
        found = status(store)
        assert found.counts == {"ok": 1, "running": 1, "waiting": 2, "failed": 1}
        assert found.troubles == {("failed", "no"): 1}
        (held,) = found.held
        assert (held.cell, held.arm, held.done, held.frames) == ("c", "mine", 15, 30)
        # Half of c, all of d; e has as much to do as c has, of another suite, at the rate of any.
        assert found.seconds_left == pytest.approx(5 + 10 + 10)
    assert status(store).held == []
    assert status(store).counts["waiting"] == 3


def test_a_claim_is_one_processs_and_says_who_has_it(store):
    with store.claim("c", {"cell": "c"}) as mine, store.claim("c") as other:
        assert (mine, other) == (True, False)
        assert store.held()["c"]["pid"] > 0
    assert store.held() == {}
    # Progress of what is not claimed any more is nobody's.
    store.progress("c", 3)
    assert store.held() == {}


def test_a_folder_without_a_campaign(tmp_path):
    with pytest.raises(StoreError, match="no campaign there"):
        status(Store(tmp_path))
