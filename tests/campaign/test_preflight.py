"""Rollouts that will not fit are reported before the first frame."""

import pytest

from harness import registry
from harness.campaign.campaign import make_campaign
from harness.campaign.expansion import cells
from harness.campaign.preflight import warnings
from harness.measure.counting import weighed
from harness.rollout.sample import sample
from harness.rollout.script import Cue, Script
from tests import published

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def planned(weights, monkeypatch):
    from suites import drift

    monkeypatch.setitem(drift.STEADY, "gate", (24, 1))
    stage = registry.backbone("self-forcing", weights=weights, size=published.SIZE, dtype="float32")
    asked = {
        "backbone": "self-forcing", "weights": str(weights), "suites": ["drift"], "tier": "gate", "equal_budget": 0,
        "strategies": ["sliding_window.window=6", "sliding_window.window=12"],
    }  # fmt: skip
    return stage, cells(make_campaign(asked), stage)


def test_what_fits_four_times_is_not_asked_about(planned, monkeypatch):
    stage, few = planned
    monkeypatch.setattr("harness.campaign.preflight.plan", lambda *_: pytest.fail("planned"))
    assert list(warnings(few, stage, lambda _: 10**10)) == []


def test_what_will_not_fit_is_named_with_what_it_needs(planned):
    stage, few = planned
    said = list(warnings(few, stage, lambda _: 100_000))
    assert [line.partition(" is expected")[0] for line in said] == ["sliding_window.window=6", "sliding_window"]
    assert all("decoding" in line and "--offload" in line and "cpu has 0.0 GB left" in line for line in said)


def test_a_switch_that_is_not_the_published_one_is_told_of_once_an_arm():
    stage = registry.backbone("pocket")
    arms = ["memflow.sma=true", "memflow.sma=true,on_switch=keep", "memflow"]
    asked = {"strategies": arms, "tier": "gate", "equal_budget": 0}
    found = [list(warnings(cells(make_campaign({**asked, "suites": suites}), stage), stage, lambda _: 10**10))
             for suites in (["interactive"], ["drift"])]  # fmt: skip
    switching, steady = ([line for line in each if "switch" in line] for each in found)
    assert [line.partition(": ")[0] for line in switching] == ["memflow.sma=true"]
    assert "the released replay at a prompt switch cannot be had" in switching[0]
    assert steady == []


@pytest.mark.nightly
def test_the_edge_lies_where_a_rollout_s_memory_does(planned):
    """Between half and twice of what is really alive in it there is a line below which it warns, and above not."""
    stage, few = planned
    cell = few[1]
    script = Script((Cue(0, cell.task.rows[0].script[0][1]),), cell.task.frames)
    stage.prepare([script.cues[0].text])
    with weighed() as count:
        for _ in sample(stage, cell.arm.strategy, script):
            pass
    assert list(warnings([cell], stage, lambda _: count.peak_bytes // 2))
    assert not list(warnings([cell], stage, lambda _: 2 * count.peak_bytes))
