"""The drift suite on videos whose quality is known because they are made up: a fake backbone that shows them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from harness import registry
from harness.pocket.world import CLOTH, look
from harness.suite import Row, Task
from reports.tables import suite_named
from suites.drift import _lost, _slope
from suites.film_measures.windows import overlaps, weighted_mean
from suites.observers.probe import Watch, edges
from suites.observers.truth import truth_of
from tests.suites import fake

STEADY = Task("steady", 60, 3, tuple(Row(seed, ((0, "a thing"),)) for seed in range(12)))
MOVING = Task(
    "steady-text", 60, 0, tuple(Row(seed, ((0, "a large red disc slides fast on blue"),)) for seed in range(6))
)


@pytest.fixture(scope="module")
def backbone():
    return registry.backbone("pocket")


def shown(backbone, task, *change):
    return fake.shown(Watch(backbone, task), backbone, task, *change)


def mean(found, metric, at=60):
    return np.mean([value for value in found[metric][at] if value is not None])


def test_windows_are_prefixes_of_longer_ones():
    assert edges(240) == [9, 21, 30, *range(45, 241, 15)]
    for frames in (21, 120, 240, 960, 14_400, 345_600):
        assert frames in edges(345_600)
        assert edges(frames) == [end for end in edges(345_600) if end <= frames]
    assert len(edges(345_600)) < 500


def test_the_truth_scores_best(backbone):
    found = shown(backbone, STEADY)
    for metric in ("identity", "unsaid_identity", "presence", "motion", "guard", "ssim"):
        assert mean(found, metric) > 0.95, metric
    assert 0.85 < mean(found, "sharpness") < 1.15
    assert mean(found, "colour_distance") < 0.02
    assert abs(mean(found, "seam")) < 0.05
    assert set(found["said_identity"][60]) == {None}


def test_what_is_said_and_unsaid_are_told_apart(backbone):
    found = shown(backbone, MOVING)
    assert mean(found, "said_identity") > 0.95
    assert mean(found, "unsaid_identity") > 0.95


@pytest.mark.parametrize(
    "fake",
    [
        pytest.param(lambda x: x[:, :1].expand_as(x), id="frozen"),
        pytest.param(lambda x: x[:, :3].repeat(1, x.shape[1] // 3, 1, 1, 1), id="looped"),
        pytest.param(lambda x: torch.full_like(x, 0.5), id="grey"),
        pytest.param(lambda x: torch.tensor(CLOTH).view(3, 1, 1).expand_as(x), id="curtain"),
        pytest.param(lambda x: torch.cat((x[:, :20], x[:, 20:21].expand_as(x[:, 20:])), 1), id="frozen later"),
    ],
)
def test_a_fake_does_not_win(backbone, fake):
    found = shown(backbone, MOVING, fake)
    assert mean(found, "guard") == 0
    assert mean(found, "identity") == 0
    steady = shown(backbone, STEADY, fake)
    # What waits is right to stand still; everything else is voided.
    assert mean(steady, "identity") < 0.5


def test_one_wrong_attribute_is_one_sixth(backbone):
    # The same scenes, but all with a disc.
    discs = replace(STEADY, rows=tuple(Row(row.seed, ((0, "a disc"),)) for row in STEADY.rows))
    found = shown(backbone, STEADY, lambda pixels: truth_of(backbone.world, discs, 60).pixels)
    right = np.array([look(row.seed)["shape"] == "disc" for row in STEADY.rows])
    assert 0 < right.sum() < 12
    assert np.allclose(found["identity_shape"][60], right, atol=0.1)
    assert np.allclose(found["identity"][60], (5 + right) / 6, atol=0.05)


def test_behind_a_curtain_nothing_counts(backbone):
    task = next(task for task in suite_named("drift").tasks(backbone, "quick") if task.scenario == "occlusion")
    found = shown(backbone, replace(task, rows=task.rows[:4]))
    assert set(found["identity"][45]) == {None}
    assert mean(found, "unsaid_identity", 84) > 0.95


def asked(backbone, scenario, rows=6):
    """A few rollouts of a scenario."""
    task = next(task for task in suite_named("drift").tasks(backbone, "full") if task.scenario == scenario)
    return replace(task, rows=task.rows[:rows])


def test_the_latest_state_counts_not_the_first(backbone):
    found = shown(backbone, asked(backbone, "evolve"))
    assert mean(found, "latest", 240) > 0.98
    assert mean(found, "reverted", 240) < 0.02
    assert mean(found, "unchanged", 240) > 0.98
    assert mean(found, "latest_chance", 240) < 0.4
    # Before the change there is nothing that could be the latest of several.
    assert set(found["latest"][21]) == {None}


def test_a_video_that_returns_to_its_beginning_has_reverted(backbone):
    found = shown(backbone, asked(backbone, "evolve"), lambda pixels: pixels[:, torch.arange(240) % 16])
    assert mean(found, "latest", 240) < 0.02
    assert mean(found, "reverted", 240) > 0.98
    assert mean(found, "unchanged", 240) > 0.98


def test_all_that_was_ever_said_counts(backbone):
    task = asked(backbone, "accumulate")
    said = [backbone.world.said(prompt) for _, prompt in task.rows[0].script]
    assert [len(each) for each in said] == [0, 1, 1, 1, 1, 1, 1, 0]
    assert {name for each in said for name in each} == set(backbone.world.seen)
    found = shown(backbone, task)
    assert mean(found, "latest", 240) > 0.98
    assert mean(found, "reverted", 240) < 0.02
    # A video that stops to follow after the third change shows three of six.
    late = shown(
        backbone, task, lambda pixels: torch.cat((pixels[:, :84], pixels[:, 68:84].repeat(1, 10, 1, 1, 1)[:, :156]), 1)
    )
    assert mean(late, "latest", 240) == pytest.approx(0.5, abs=0.05)
    assert mean(late, "reverted", 240) == pytest.approx(0.5, abs=0.05)


def test_a_scene_between_curtains_is_measured_where_it_is_seen(backbone):
    task = asked(backbone, "intermittent")
    assert task.boundaries[:5] == ("smooth", "smooth", "recall", "smooth", "recall")
    assert [start for start, _ in task.rows[0].script][:5] == [0, 9, 24, 33, 48]
    found = shown(backbone, task)
    assert mean(found, "unsaid_identity", 240) > 0.98
    assert "latest" not in found


def test_it_goes_on_from_a_saved_state(backbone):
    truth = truth_of(backbone.world, STEADY, 60)
    latents = backbone.codec.encode(truth.pixels)
    whole, first, second = (Watch(backbone, STEADY) for _ in range(3))
    for start in range(0, 60, 3):
        whole.see(latents[:, start : start + 3], start)
        if start < 24:
            first.see(latents[:, start : start + 3], start)
    second.load_state_dict(first.state_dict())
    for start in range(24, 60, 3):
        second.see(latents[:, start : start + 3], start)
    assert second.samples() == whole.samples()
    assert np.array_equal(second.pictures()["strip"], whole.pictures()["strip"])


def test_every_strategy_gets_the_same_tasks_and_no_training_clip(backbone):
    suite = suite_named("drift")
    for tier in suite.tiers:
        tasks, other = suite.tasks(backbone, tier), suite.tasks(backbone, tier, seed=1)
        assert tasks == suite.tasks(backbone, tier)
        seeds, others = ({row.seed for task in some for row in task.rows} for some in (tasks, other))
        assert not seeds & others
        assert max(seeds | others) < 2**62
    quick = suite.tasks(backbone, "quick")
    assert [(task.scenario, len(task.rows), suite.at_equal_budget(task, "quick")) for task in quick] == [
        ("steady", 12, True), ("evolve", 12, False), ("occlusion", 12, False),
    ]  # fmt: skip
    assert all(suite.at_equal_budget(task, "full") for task in suite.tasks(backbone, "full"))


def table(curve, frames=240, metric="unsaid_identity"):
    ends = edges(frames)
    about = {"horizon_latent_frames": frames, "horizon_seconds": frames / 4, "seed": 1, "prompt": "a", "metric": metric}
    return pd.DataFrame([{**about, "at_frame": end, "value": curve(end)} for end in ends])


def scored(curve, frames=240):
    found = suite_named("drift").scores(table(curve, frames))
    return {(row.metric, row.horizon_latent_frames): row.value for row in found.itertuples()}


def test_scores_of_a_known_curve():
    found = scored(lambda end: 1 - end / 480)
    # The last 15 % are 36 latent frames: 6 of the window that ends at 210, and the windows that end at 225 and 240.
    assert found["unsaid_identity", 240] == pytest.approx(1 - (6 * 210 + 15 * 225 + 15 * 240) / 36 / 480)
    assert found["unsaid_identity_slope", 240] == pytest.approx(-0.5)
    assert found["unsaid_identity_contrast", 240] < -0.3
    assert found["survival", 240] == 60
    assert found["survival", 120] == 30
    assert {horizon for _, horizon in found} == {21, 120, 240}


def test_a_video_is_lost_when_it_does_not_come_back():
    assert scored(lambda end: float(end <= 90))["survival", 240] == 22.5
    assert scored(lambda end: float(end <= 90 or end >= 200))["survival", 240] == 60
    assert scored(lambda end: 0.0)["survival", 240] == 0


def test_windows_without_a_number_do_not_count():
    ends = np.array([9, 21, 30])
    assert _slope(ends, np.array([[1.0, np.nan, 0.0], [np.nan] * 3]))[0] == pytest.approx(-1 / 21)
    assert np.isnan(_slope(ends, np.array([[np.nan] * 3]))[0])
    assert _lost(ends, np.array([[1.0, np.nan, np.nan]])) == [9]
    assert overlaps(ends, 0, 1).tolist() == [1, 0, 0]
    weights = overlaps(ends, 8, 25)
    assert weights.tolist() == [1, 12, 4]
    assert weighted_mean(np.array([[1.0, 0.0, np.nan], [np.nan] * 3]), weights)[0] == pytest.approx(1 / 13)
    assert np.isnan(weighted_mean(np.array([[np.nan] * 3]), weights)[0])


def test_the_last_15_percent_are_the_last_15_percent():
    """A window that begins before them counts with the part of it that lies in them, in either direction."""
    curve = {195: 0.9, 210: 0.34, 225: 0.13, 240: 0.13}
    found = scored(lambda end: curve.get(end, 1.0))
    assert found["unsaid_identity", 240] == pytest.approx((6 * 0.34 + 30 * 0.13) / 36)


@pytest.mark.parametrize(("frames", "longest"), [(18, 18), (21, 21), (120, 120)])
def test_films_are_not_compared_with_themselves(frames, longest):
    """Of five seconds or less nothing but the beginning itself is there: it would score 100 dB."""
    rows = [
        table(lambda end, value=value: value, frames, metric)
        for metric, value in (("psnr", 100.0), ("ssim", 1.0), ("lpips", 0.0), ("guard", 1.0), ("clip_score", 20.0))
    ]
    found = suite_named("drift").scores(pd.concat(rows, ignore_index=True))
    at = {metric: set(part["horizon_latent_frames"]) for metric, part in found.groupby("metric")}
    assert longest in at["guard"]
    assert longest in at["clip_score"]
    for metric in ("psnr", "ssim", "lpips", "psnr_contrast"):
        assert at.get(metric, set()) == ({120} if frames == 120 else set())


def test_known_truths_are_compared_at_five_seconds_too():
    assert ("ssim", 21) in {
        (row.metric, row.horizon_latent_frames)
        for row in suite_named("drift").scores(table(lambda end: 0.9, 120, "ssim")).itertuples()
    }
