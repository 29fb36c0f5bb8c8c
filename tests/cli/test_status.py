"""`horizon status --watch`: what it shows, and when it ends."""

import re
import sys

import pytest

from harness import cli
from harness.campaign.status import status
from harness.cli.runs import status as shown
from harness.store.store import Store
from tests import toy

ABOUT = {**toy.ABOUT, "strategy": "mine", "seconds": 10.0}


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "c")
    plan = {name: ["mine", "toy", "plain", 30, 2] for name in "abc"}
    asked = {**toy.ASKED, "cells": list("abc")}
    found.begin({"name": "c", "asked": asked, "environment": {"machine": "n1"}, "plan": plan})
    return found


def test_a_watch_tells_rate_and_time_left_and_ends_with_the_campaign(store, monkeypatch):
    now, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += 60.0
        store.finish("abc"[len(slept) - 1], ABOUT, (), {})

    monkeypatch.setattr(shown.time, "strftime", lambda form: "now ")
    with store.claim("c", {"cell": "c", "arm": "mine", "suite": "toy", "frames": 30}):
        store.progress("c", 15)
        looks = shown._looks(store, 60.0, sleep, lambda: now[0])
        lines = [shown.in_words(*next(looks)) for _ in range(3)]
    assert lines == [
        "now 1 running, 2 waiting · of 3 cells, 1 at work",
        "now 1 ok, 1 running, 1 waiting · of 3 cells, 1 at work · 1.0 latent frames/s · about 15 s left",
        "now 2 ok, 1 running · of 3 cells, 1 at work · 1.0 latent frames/s · about 5 s left",
    ]
    # Nothing is left but what is finished now; the last look says so.
    assert [found.counts for found, _ in looks] == [{"ok": 3}]
    assert slept == [60.0] * 3


def test_cells_are_read_once_and_again_when_they_are_made_again(store, monkeypatch):
    store.finish("a", ABOUT, (), {})
    known, read = {}, []
    find = Store.find
    monkeypatch.setattr(Store, "find", lambda self, cell: read.append(cell) or find(self, cell))
    for _ in range(3):
        assert status(store, known=known).counts == {"ok": 1, "waiting": 2}
    assert read == ["a"]
    store.finish("b", ABOUT, (), {})
    store.finish("a", {**ABOUT, "status": "failed", "reason": "no"}, (), {})
    found = status(store, known=known)
    assert (found.counts, found.machines, found.frames) == ({"ok": 1, "waiting": 1, "failed": 1}, {"n1": 2}, 60)
    store.discard("b")
    assert status(store, known=known).counts == {"waiting": 2, "failed": 1}


def test_in_a_log_it_is_a_line_a_minute(store, monkeypatch, capsys):
    for cell in "abc":
        store.finish(cell, {**ABOUT, "status": "failed", "reason": "no such thing"}, (), {})
    monkeypatch.setattr(sys, "argv", ["horizon", "status", str(store.folder), "--watch"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    (said,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"[\d-]+ [\d:]+ 3 failed · of 3 cells, 0 at work · 3 failed: no such thing", said)
