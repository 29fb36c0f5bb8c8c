import numpy as np
import pytest

from reports.stats import interval, kendall


def test_the_mean_and_an_interval_as_wide_as_theory_says():
    rng = np.random.default_rng(0)
    values = rng.normal(1.0, 2.0, 400)
    found = interval(values, np.arange(400))
    assert found.mean == pytest.approx(values.mean())
    half = 1.96 * values.std(ddof=1) / 20
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert found.count == 400
    assert found.excludes_zero


def test_repeats_of_one_rollout_are_not_more_evidence():
    rng = np.random.default_rng(1)
    values, groups = rng.normal(size=30), np.arange(30)
    once = interval(values, groups)
    tenfold = interval(np.tile(values, 10), np.tile(groups, 10))
    assert (tenfold.high - tenfold.low) == pytest.approx(once.high - once.low, rel=0.1)
    assert tenfold.count == 30


def test_strata_are_drawn_by_themselves():
    # All of the spread lies between the strata, whose sizes are fixed: nothing is left to chance.
    values, strata = np.repeat([0.0, 1.0], 20), np.repeat([0, 1], 20)
    found = interval(values, np.arange(40), strata)
    assert (found.low, found.mean, found.high) == (0.5, 0.5, 0.5)
    assert interval(values, np.arange(40)).high > 0.6


def test_too_little_to_say_anything():
    none = interval(np.array([np.nan]), np.array([0]))
    assert none.count == 0
    assert np.isnan(none.mean)
    one = interval(np.array([1.0, np.nan]), np.array([0, 1]))
    assert (one.mean, one.low, one.high, one.count) == (1.0, -np.inf, np.inf, 1)
    assert not one.excludes_zero


def test_the_same_numbers_give_the_same_interval():
    values = np.random.default_rng(2).normal(size=50)
    assert interval(values, np.arange(50)) == interval(values, np.arange(50))


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_intervals_cover_as_often_as_they_say(shift):
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        values = rng.normal(shift, 1, 40)
        found = interval(values, np.arange(40))
        covered += found.low <= shift <= found.high
    assert 0.90 <= covered / 200 <= 0.98


def test_kendall():
    assert kendall(np.array([1, 2, 3]), np.array([10, 20, 30])) == 1
    assert kendall(np.array([1, 2, 3]), np.array([3, 2, 1])) == -1
