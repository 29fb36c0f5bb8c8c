"""Planned cost of a campaign on GPUs that are not here."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness import registry
from harness.campaign.campaign import make_campaign
from harness.campaign.expansion import Arm, Cell, cells
from harness.campaign.on_paper import USUAL, disk_of, measured_factor, needs, paper, seconds_of
from harness.engines.sharing.order import finish
from harness.plan.device import DEVICES
from harness.store.store import Store
from suites.drift import Drift
from tests import toy

H100 = DEVICES["H100"]
ASKED = make_campaign({"device": "cuda", "strategies": ["memrope"], "suites": ["drift"], "equal_budget": 0})


class Planned:
    """A plan whose chunks take a second."""

    chunk, peak_bytes, archive_bytes = 3, 5 * 10**9, 0

    def bound(self, device):
        return SimpleNamespace(chunk_seconds=1.0)


@pytest.fixture(scope="module")
def stage():
    return paper(ASKED)


def test_cells_need_neither_gpu_nor_weights(stage):
    planned = cells(ASKED, stage)
    here = cells(make_campaign({**ASKED.model_dump(), "device": "cpu"}), registry.backbone("pocket"))
    assert [cell.task for cell in planned] == [cell.task for cell in here]


def test_time_is_that_of_the_chunks(stage):
    arm = Arm("memrope", registry.strategy("memrope"), ("as published",))
    suite = Drift()
    task = replace(suite.tasks(stage, "quick")[0], frames=60, given=0)
    cell = Cell("a", arm, suite, task)
    rows = len(task.rows)
    assert seconds_of(cell, Planned(), H100, 1.5) == 20 * rows * 1.5
    assert seconds_of(replace(cell, skip="no"), Planned(), H100, 1.5) == seconds_of(cell, None, H100, 1.5) == 0
    assert disk_of(cell, stage) > 200_000
    (need,) = needs([cell, replace(cell, id="b"), replace(cell, skip="no")], {arm.label: Planned()}, stage, H100, 2.0)
    assert (need.cells, need.seconds, need.peak_bytes) == (2, 2 * 20 * rows * 2.0, 5 * 10**9)


def test_earlier_runs_on_that_gpu_say_by_how_much_the_roofline_is_missed(tmp_path):
    cost = {"chunk_ms": 3000.0, "cache_bytes": 1, "switches": []}
    for folder, gpu, expected in (("a", "NVIDIA H100 80GB HBM3", (3.0, 1)), ("b", "NVIDIA A100", (USUAL, 0))):
        store = Store(tmp_path / folder)
        store.begin({"name": "c", "asked": {**toy.ASKED, "cells": ["x"]}, "environment": {"gpu": gpu}})
        store.finish("x", {**toy.ABOUT, "arm": "full", "cost": cost}, (), {})
        assert measured_factor(store, H100, {"full": Planned()}.get) == expected
        assert measured_factor(store, H100, {}.get) == (USUAL, 0)


def test_the_last_of_several_workers():
    assert finish([3, 2, 2, 1], 1) == 8
    assert finish([3, 2, 2, 1], 2) == 4
    assert finish([], 2) == 0
