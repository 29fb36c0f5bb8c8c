"""The suite fairness, on the embedded world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from harness import registry
from harness.backbone.presets import Backbone
from harness.rollout.task_rollout import rollout_of
from harness.suite import Place
from reports.notes import handicapped_arms
from reports.statistics.comparison import Comparison
from suites.fairness import HANDICAPPED, READ, Ending, Fairness
from suites.observers.truth import truth_of


@pytest.fixture(scope="module")
def backbone():
    return registry.backbone("pocket")


def asked(backbone, scenario, rows=4):
    task = next(task for task in Fairness().tasks(backbone, "quick") if task.scenario == scenario)
    return replace(task, rows=task.rows[:rows])


def shown(backbone, task, latents):
    """What the suite says of videos, by metric."""
    seen = Ending(backbone, task, Fairness().given(backbone, task))
    for start in range(0, task.frames, 3):
        seen.see(latents[:, start : start + 3], start)
    found = {}
    for sample in seen.samples():
        found.setdefault(sample.metric, []).append(sample.value)
    return found


@pytest.mark.parametrize("scenario", ["kept", "evolve"])
def test_tasks_end_within_the_trained_range_and_the_truth_scores_best(backbone, scenario):
    task = asked(backbone, scenario)
    assert task.frames == backbone.trained_frames == 36
    found = shown(backbone, task, backbone.codec.encode(truth_of(backbone.world, task, 36).pixels))
    assert found["right"] == [1.0] * 4
    # The beginning, carried on without any change, is wrong where something changed.
    stays = truth_of(backbone.world, asked(backbone, "kept"), 36).pixels
    right = shown(backbone, task, backbone.codec.encode(stays))["right"]
    assert (sum(right) / 4 > 0.99) == (scenario == "kept")


def test_a_motion_that_a_short_memory_cannot_hold_is_not_asked(backbone):
    task = asked(backbone, "kept")
    # Every rollout rests on its last true picture: all that one picture shows is right, motion and speed are not.
    rest = truth_of(backbone.world, task, 36).pixels.clone()
    rest[:, -2 * READ :] = rest[:, -1:]
    assert shown(backbone, task, backbone.codec.encode(rest))["right"] == [1.0] * 4


def test_full_attention_is_measured_in_the_same_rollouts(backbone):
    task = asked(backbone, "kept")
    full = registry.strategy("full")
    given = Fairness().given(backbone, task)
    chunks = rollout_of(backbone, full, task, given=given)
    found = shown(backbone, task, torch.cat([given, *(chunk.latents for chunk in chunks)], 1))
    assert found["right"] == found["right_full"]


def test_a_state_goes_on(backbone):
    task = asked(backbone, "kept", 2)
    latents = backbone.codec.encode(truth_of(backbone.world, task, 36).pixels)
    one, other = (Ending(backbone, task, Fairness().given(backbone, task)) for _ in range(2))
    for start in range(0, 36, 3):
        (one if start < 33 else other).see(latents[:, start : start + 3], start)
        if start == 30:
            other.load_state_dict(one.state_dict())
    whole = Ending(backbone, task, Fairness().given(backbone, task))
    for start in range(0, 36, 3):
        whole.see(latents[:, start : start + 3], start)
    assert sum(x.shape[1] for x in other.last) == READ
    assert other.samples() == whole.samples()


def samples(right, full):
    """The tidy samples of an arm."""
    about = {"strategy": "memrope", "knobs": "", "scenario": "kept", "horizon_latent_frames": 36, "at_frame": 36}
    return pd.DataFrame(
        [
            {**about, "prompt": "a thing", "seed": seed, "metric": metric, "value": value}
            for metric, values in (("right", right), ("right_full", full))
            for seed, value in enumerate(values)
        ]
    )


def test_scores_are_shares_of_the_mean_of_full_attention():
    found = Fairness().scores(samples([0.5, 1.0, 0.75], [1.0, 1.0, 0.5]))
    assert found["value"].tolist() == pytest.approx([0.6, 1.2, 0.9])
    # Their mean is the ratio of the means.
    assert found["value"].mean() == pytest.approx(2.25 / 2.5)
    assert set(found["metric"]) == {"fairness"}


def test_arms_below_the_mark_are_named():
    rows = pd.DataFrame(
        [
            {"suite": "fairness", "scenario": scenario, "metric": metric, "arm": arm, "mean": mean}
            for scenario, metric, arm, mean in [
                ("kept", "fairness", "memrope", 0.99), ("evolve", "fairness", "memrope", HANDICAPPED - 0.01),
                ("kept", "right", "full", 0.2), ("kept", "fairness", "full", 1.0),
            ]
        ]
    )  # fmt: skip
    found = Comparison.__new__(Comparison)
    object.__setattr__(found, "rows", rows)
    assert handicapped_arms(found) == {"memrope": "evolve 0.89"}


def test_a_backbone_without_a_known_world_is_refused():
    assert "whose world is known" in Fairness().remedy(Backbone(model=registry.backbone("pocket").model))


def test_places_are_not_needed(backbone, tmp_path: Path):
    task = asked(backbone, "kept", 1)
    assert Fairness().observer(backbone, task, Place(tmp_path, {})).pictures() == {}
    assert list(tmp_path.iterdir()) == []
