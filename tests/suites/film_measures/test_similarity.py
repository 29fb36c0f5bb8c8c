"""Similarity within a video, beside torch's cosines pair by pair."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity
from torchmetrics.functional.pairwise import pairwise_cosine_similarity

from suites.film_measures.similarity import (
    LAGS,
    anchoring,
    consistency,
    lag_curve,
    neighbours,
    returned,
    to_first,
    unit,
)


@pytest.fixture
def vectors():
    """A walk of 60 s, two vectors a second."""
    return np.random.default_rng(0).normal(size=(121, 12)).cumsum(0)


def test_the_lag_curve_is_the_mean_over_all_pairs(vectors):
    table = pairwise_cosine_similarity(torch.from_numpy(vectors), torch.from_numpy(vectors)).numpy()
    found = lag_curve(unit(vectors), 0.5)
    for lag, value in zip(LAGS, found, strict=True):
        apart = round(2 * lag)
        pairs = [table[one, one + apart] for one in range(121 - apart)]
        assert value == pytest.approx(np.mean(pairs), abs=1e-6)
    assert found[0] > found[3] > found[5]


def test_lags_that_a_video_does_not_have(vectors):
    found = lag_curve(unit(vectors[:10]), 1.0)
    assert np.isfinite(found).tolist() == [False, True, True, True, False, False, False]


def test_anchoring_by_pairs(vectors):
    there = torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    first, middle = there[:6].mean(0), there[30:36].mean(0)
    last = range(121 - 24, 121)
    found = anchoring(unit(vectors), 0.5)
    cosines = [float(cosine_similarity(there[each], first, 0)) for each in last]
    assert found.cosine == pytest.approx(np.mean(cosines), abs=1e-6)
    others = [float(cosine_similarity(there[each], middle, 0)) for each in last]
    assert found.control == pytest.approx(np.mean(others), abs=1e-6)
    stuck = [float(cosine_similarity(there[each], first, 0)) >= float(there[each] @ there[each - 4]) for each in last]
    assert found.stuck == np.mean(stuck)


def test_what_stands_still_is_stuck_and_a_walk_is_not(vectors):
    still = unit(np.repeat(vectors[:1], 100, 0))
    assert anchoring(still, 0.5) == pytest.approx((1, 1, 1))
    assert anchoring(unit(vectors), 0.5).stuck < 0.5
    assert returned(to_first(still)) < 1e-9


def test_coming_back_is_told_from_staying_and_from_leaving():
    away = np.linspace(1, 0, 50)
    assert returned(away) == 0
    assert returned(np.ones(50)) == 0
    assert returned(np.concatenate((away, away))) == 1
    assert np.isnan(returned(np.full(3, np.nan)))


def test_consistency_is_that_of_vbench(vectors):
    there = unit(vectors)
    found = [(there[n] @ there[0]).clip(0) / 2 + (there[n] @ there[n - 1]).clip(0) / 2 for n in range(1, 121)]
    assert consistency(there) == pytest.approx(np.mean(found))
    assert neighbours(there) == pytest.approx(np.mean([there[n] @ there[n - 1] for n in range(1, 121)]))


def test_too_little_to_measure(vectors):
    few = unit(vectors[:1])
    assert np.isnan([neighbours(few), consistency(few), *anchoring(few, 0.5)]).all()
    assert not unit(np.zeros((2, 3))).any()
