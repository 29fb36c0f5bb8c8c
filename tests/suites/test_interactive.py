"""The interactive suite on videos whose quality is known because they are made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from harness import registry
from harness.pocket.language import ATTRIBUTES
from harness.pocket.world import look
from harness.suite import Sample
from suites.interactive import SCORES, Interactive
from suites.observers.scenes import Scenes
from suites.observers.truth import truth_of
from tests.lanes import pushed
from tests.suites import fake


@pytest.fixture(scope="module")
def backbone():
    return registry.backbone("pocket")


@pytest.fixture(scope="module")
def tasks(backbone):
    found = Interactive().tasks(backbone, "full")
    return {task.scenario: replace(task, rows=task.rows[:12]) for task in found}


def shown(backbone, task, *change):
    return fake.shown(Scenes(backbone, task), backbone, task, *change)


def mean(found, metric, at=None):
    values = [value for end, row in found[metric].items() if at in (None, end) for value in row if value is not None]
    return np.mean(values)


SCENARIOS = [
    "smooth-21", "hardcut-21", "recall-21", "recall-84", "return-second-21", "return-second-of-four-21", "six-21",
]  # fmt: skip


@pytest.mark.parametrize("scenario", pushed(SCENARIOS, "smooth-21", "hardcut-21", "recall-84", "six-21"))
def test_the_truth_scores_best(backbone, tasks, scenario):
    found = shown(backbone, tasks[scenario])
    assert mean(found, "responded") == 1
    assert mean(found, "response") <= 3
    assert mean(found, "constancy") > 0.99
    assert abs(mean(found, "jump")) < 0.06
    start = tasks[scenario].frames - int(scenario.rpartition("-")[2])
    assert mean(found, "new_scene", start + 12) > 0.95
    if "recall-" in scenario or "return-" in scenario:
        assert mean(found, "recall") > 0.99
        assert mean(found, "recall_chance") < 0.5
    if scenario in ("smooth-21", "recall-21", "recall-84"):
        assert mean(found, "leakage_12") == 0


def test_what_a_cut_happens_to_draw_again_is_chance(backbone, tasks):
    """The true other scene shares values with the first one only as any other scene does."""
    found = shown(backbone, tasks["forget-21"])
    assert set(found["response"][21]) == {None}
    assert abs(mean(found, "leakage_12") - mean(found, "leakage_chance")) < 0.2


def test_a_video_that_does_not_follow_is_censored_and_leaks(backbone, tasks):
    found = shown(backbone, tasks["smooth-21"], lambda pixels: pixels[:, torch.arange(42) % 20])
    assert mean(found, "responded") == 0
    assert set(found["response"][21]) == {21}
    assert mean(found, "leakage_21") > 0.99
    assert mean(found, "new_scene") < 0.05
    assert mean(found, "constancy") > 0.99


def test_a_video_that_follows_late_says_when(backbone, tasks):
    """Nothing changes for nine frames after the cut, then the new scene is there at once."""

    def late(pixels):
        pixels[:, 21:30] = pixels[:, 12:21]
        return pixels

    found = shown(backbone, tasks["hardcut-21"], late)
    assert set(found["response"][21]) == {10}
    assert mean(found, "leakage_6") > 0.9
    assert mean(found, "leakage_12") < 0.5


def test_a_video_that_comes_back_to_something_else_recalls_by_chance(backbone, tasks):
    task = tasks["recall-21"]

    def other(pixels):
        pixels[:, 42:] = pixels.roll(1, 0)[:, :21]
        return pixels

    found = shown(backbone, task, other)
    assert mean(found, "recall") < 0.4
    assert mean(found, "recall_chance") > 0.99


def test_a_video_that_comes_back_to_the_first_scene_instead_of_the_second_has_reverted(backbone, tasks):
    task = tasks["return-second-of-four-21"]
    assert task.rows[0].script[-1] == (84, "back to the second thing")

    def first(pixels):
        pixels[:, 84:] = pixels[:, :21]
        return pixels

    truth, found = shown(backbone, task), shown(backbone, task, first)
    assert mean(truth, "recall") > 0.98
    assert mean(truth, "reverted") < 0.02
    assert mean(found, "reverted") > 0.98
    assert mean(found, "recall") < 0.4


def test_noise_gets_nothing(backbone, tasks):
    found = shown(backbone, tasks["recall-21"], torch.rand_like)
    assert mean(found, "responded") == 0
    assert mean(found, "recall") < 0.1


def test_a_sudden_jump_is_seen(backbone, tasks):
    def flash(pixels):
        pixels[:, 22] = 1 - pixels[:, 22]
        return pixels

    assert mean(shown(backbone, tasks["smooth-21"], flash), "jump") > 0.2


def test_it_goes_on_from_a_saved_state(backbone, tasks):
    task = tasks["smooth-21"]
    truth = truth_of(backbone.world, task, task.frames)
    latents = backbone.codec.encode(truth.pixels)
    whole, first, second = (Scenes(backbone, task) for _ in range(3))
    for start in range(0, 42, 3):
        whole.see(latents[:, start : start + 3], start)
        (first if start < 21 else second).see(latents[:, start : start + 3], start)
        if start == 18:
            second.load_state_dict(first.state_dict())
    assert whole.samples() == second.samples()
    assert (whole.pictures()["strip"] == second.pictures()["strip"]).all()


def test_tasks_are_as_said(backbone):
    suite = Interactive()
    quick, full = ({task.scenario: task for task in suite.tasks(backbone, tier)} for tier in ("quick", "full"))
    names = ("smooth", "hardcut", "forget", "recall", "return-second", "return-second-of-four", "six")
    assert set(full) == {f"{name}-{length}" for name in names for length in (21, 84)}
    assert set(quick) < set(full)
    assert [len(task.rows) for task in quick.values()] == [8, 8, 12, 12, 6]
    assert not any(suite.at_equal_budget(task, "quick") for task in quick.values())
    assert all(suite.at_equal_budget(task, "full") for task in full.values())
    assert suite.tasks(backbone, "day") == list(full.values())
    assert {len(task.rows) for task in full.values()} == {64}
    six = quick["six-21"]
    assert six.boundaries == ("smooth", "smooth", "hardcut", "smooth", "recall", "hardcut")
    assert [start for start, _ in six.rows[0].script] == [0, 21, 42, 63, 84, 105]
    assert six.frames == 126
    assert six.rows[0].script[0][1] == "a thing"
    assert six.rows[0].script[4][1] == "back to a thing"
    other = suite.tasks(backbone, "quick", seed=1)
    assert {row.seed for row in other[0].rows}.isdisjoint(row.seed for row in quick["smooth-21"].rows)
    assert suite.given(backbone, six).shape == (6, 3, 16, 8, 8)


def test_changes_are_changes(backbone):
    for seed in range(100):
        old = look(seed)
        new = backbone.world.changed(old, seed, 1)
        assert len(new) == 3
        assert all(value != old[name] and value in ATTRIBUTES[name] for name, value in new.items())
        after = {**old, **new}
        assert len({after[name] for name in ("colour", "ground", "accent")}) == 3


def test_scores_are_means_over_the_switches_of_a_rollout():
    common = {"seed": 1, "horizon_latent_frames": 126, "horizon_seconds": 31.5}
    rows = [
        {**common, "metric": metric, "at_frame": at, "value": value}
        for metric, at, value in [
            ("response", 21, 2.0), ("response", 42, 4.0), ("response", 63, None), ("new_scene", 24, 0.5),
            ("recall", 84, 1.0),
        ]
    ]  # fmt: skip
    scored = Interactive().scores(pd.DataFrame(rows)).set_index("metric")
    assert dict(scored["value"]) == {"response": 3.0, "recall": 1.0}
    assert set(scored["at_frame"]) == {126}


def test_every_sample_is_of_a_metric_within_its_bounds(backbone, tasks):
    metrics = Interactive().metrics
    watch = Scenes(backbone, tasks["six-21"])
    generator = torch.Generator().manual_seed(0)
    for start in range(0, 126, 3):
        watch.see(torch.randn(12, 3, 16, 8, 8, generator=generator), start)
    seen = set()
    for sample in watch.samples():
        assert isinstance(sample, Sample)
        metric = metrics[sample.metric]
        seen.add(sample.metric)
        if sample.value is not None:
            assert metric.low is None or sample.value >= metric.low
            assert metric.high is None or sample.value <= metric.high
    assert seen == set(metrics)
    assert set(SCORES) < seen
