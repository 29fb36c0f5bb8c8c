"""Paired tests: exact cases, rate of false positives, and the choice of rollouts."""

import itertools

import numpy as np
import pytest

from reports.statistics.bounded import Scale
from reports.statistics.paired import FLIPS, common, flip_p, side_by_side, student_p


def test_few_signs_are_all_gone_through():
    values = np.random.default_rng(0).normal(0.4, 1, (7, 1))
    by_hand = [abs(values[:, 0] @ signs) >= abs(values.sum()) - 1e-12 for signs in itertools.product((-1, 1), repeat=7)]
    assert flip_p(values)[0] == pytest.approx(np.mean(by_hand))


def test_eight_rollouts_cannot_be_surer_than_two_in_256():
    assert flip_p(np.ones((8, 1)))[0] == 2 / 256
    assert flip_p(np.ones((2, 1)))[0] == 0.5
    assert flip_p(np.ones((1, 1)))[0] == 1
    assert flip_p(np.zeros((8, 1)))[0] == 1
    # Rollouts without a difference say nothing.
    assert flip_p(np.array([[1.0]] * 3 + [[0.0]] * 9))[0] == 0.25
    assert 1 / FLIPS <= flip_p(np.ones((64, 1)))[0] < 3 / FLIPS


@pytest.mark.parametrize("count", [8, 16, 32])
def test_arms_that_do_not_differ_are_called_different_as_seldom_as_it_says(count):
    """Of scenes that are kept or lost, where Student's test would be wrong."""
    rng = np.random.default_rng(count)
    kept = (rng.random((count, 2000)) < 0.85).astype(float) - (rng.random((count, 2000)) < 0.85)
    assert np.mean(flip_p(kept) < 0.05) <= 0.06
    assert np.mean(flip_p(rng.normal(0, 1, (count, 2000))) < 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(flip_p(rng.normal(1.5, 1, (count, 500))) < 0.05) > 0.9


def test_repeats_of_a_cost_are_tested_by_student():
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(1).normal(0.5, 1, (5, 4))
    np.testing.assert_allclose(student_p(values), ttest_1samp(values, 0).pvalue)
    assert student_p(np.array([[2.0, 0.0]] * 2)).tolist() == [0, 1]
    assert student_p(np.ones((1, 1)))[0] == 1


def test_rollouts_in_common():
    whole, half, few, none = (
        np.ones(4, bool),
        np.array([1, 1, 0, 0], bool),
        np.array([1, 0, 0, 0], bool),
        np.zeros(4, bool),
    )
    rollouts, arms = common(np.array([whole, half, none]).T)
    assert rollouts.tolist() == [True, True, False, False]
    assert arms.tolist() == [True, True, False]
    # One that hardly has any does not take them from the others.
    rollouts, arms = common(np.array([whole, whole, few]).T)
    assert rollouts.all()
    assert arms.tolist() == [True, True, False]
    rollouts, _ = common(np.array([half, ~half]).T)
    assert not rollouts.any()
    assert not common(np.zeros((0, 2), bool))[1].any()


def test_means_side_by_side():
    values = np.array([[1.0, 5.0], [2.0, 6.0], [30.0, np.nan]])
    found = side_by_side(values, np.arange(3), Scale())
    assert found.mean.tolist() == [1.5, 5.5]
    assert found.count.tolist() == [2, 2]
    apart = side_by_side(np.array([[1.0, np.nan], [np.nan, 6.0]]), np.arange(2), Scale())
    assert apart.mean.tolist() == [1, 6]
    assert apart.count.tolist() == [1, 1]
    assert np.isnan(apart.low).all()
