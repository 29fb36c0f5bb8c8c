"""Intervals of bounded means: inside their bounds, of some width for equal values, with the stated coverage."""

import numpy as np
import pytest
from scipy.stats import beta, lognorm, t

from harness.suite import Metric
from reports.statistics.bounded import Scale, bounded_interval, means, scale_of

SHARE = Scale(0, 1, share=True)
TRIES = 800


def ends(values, scale, groups=None):
    found = bounded_interval(np.asarray(values, float), np.arange(len(values)) if groups is None else groups, scale)
    return found.low, found.high


def test_equal_rollouts_are_no_certainty():
    """All of eight at 1.00: Jeffreys' interval of eight successes in eight."""
    low, high = ends([1.0] * 8, SHARE)
    assert low == pytest.approx(beta.ppf(0.025, 8.5, 0.5), abs=0.02)
    assert high == 1
    assert ends([0.0] * 8, SHARE) == (0, pytest.approx(1 - low, abs=0.02))
    # More rollouts are surer, and one that is nearly the same changes nearly nothing.
    assert low < ends([1.0] * 32, SHARE)[0] < 1
    assert ends([1.0] * 7 + [0.99], SHARE)[0] == pytest.approx(low, abs=0.01)


@pytest.mark.parametrize("scale", [SHARE, Scale(0, 1), Scale(-1, 1), Scale(0), Scale(high=1), Scale(0, 60, share=True)])
def test_intervals_stay_in_their_bounds_and_hold_their_mean(scale):
    rng = np.random.default_rng(0)
    for count in (2, 3, 5, 9, 30):
        for spread in (0.0, 1e-6, 0.1, 1.0):
            base = rng.choice([0.001, 0.5, 0.999], count)
            values = np.clip(base + rng.normal(0, spread, count), max(scale.low, 0), min(scale.high, 1))
            low, high = ends(values, scale)
            assert scale.low <= low <= values.mean() + 1e-12
            assert values.mean() - 1e-12 <= high <= scale.high


@pytest.mark.parametrize("count", [8, 16, 32, 64])
@pytest.mark.parametrize(
    ("kind", "truth"),
    [
        ("half", 0.5),
        ("nine in ten", 0.9),
        ("97 in 100", 0.97),
        ("one in twenty collapses", 0.95 * 0.985 + 0.05 * 0.2),
        ("sixths", 0.9),
        ("spread out", 0.5),
    ],
)
def test_shares_are_covered_where_a_bootstrap_is_too_sure(count, kind, truth):
    rng = np.random.default_rng(count)
    shape = (count, TRIES)
    values = {
        "half": lambda: rng.random(shape) < 0.5,
        "nine in ten": lambda: rng.random(shape) < 0.9,
        "97 in 100": lambda: rng.random(shape) < 0.97,
        "one in twenty collapses": lambda: np.where(rng.random(shape) < 0.05, 0.2, rng.uniform(0.97, 1, shape)),
        "sixths": lambda: rng.binomial(6, 0.9, shape) / 6,
        "spread out": lambda: rng.beta(2, 2, shape),
    }[kind]().astype(float)
    _, low, high = means(values, np.arange(count), SHARE)
    assert np.mean((low <= truth) & (truth <= high)) >= 0.90
    if kind == "97 in 100" and count <= 16:
        drawn = rng.multinomial(count, np.full(count, 1 / count), 1000) / count @ values
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        assert np.mean((low <= truth) & (truth <= high)) < 0.6


@pytest.mark.parametrize(
    ("scale", "draw", "truth"),
    [
        (Scale(), lambda rng, shape: rng.normal(1, 2, shape), 1.0),
        (Scale(0), lambda rng, shape: lognorm.rvs(0.6, size=shape, random_state=rng), float(lognorm.mean(0.6))),
        (Scale(-1, 1), lambda rng, shape: 2 * rng.beta(40, 4, shape) - 1, 2 * 40 / 44 - 1),
        (Scale(high=1), lambda rng, shape: 1 - lognorm.rvs(0.6, size=shape, random_state=rng), 1 - lognorm.mean(0.6)),
    ],
)
@pytest.mark.parametrize("count", [5, 12, 40])
def test_other_means_are_covered_too(scale, draw, truth, count):
    values = draw(np.random.default_rng(count), (count, TRIES))
    _, low, high = means(values, np.arange(count), scale)
    assert np.mean((low <= truth) & (truth <= high)) >= 0.89


def test_without_bounds_it_is_students():
    values = np.random.default_rng(0).normal(5, 1, 12)
    half = t.ppf(0.975, 11) * values.std(ddof=1) / 12**0.5
    assert ends(values, Scale()) == (pytest.approx(values.mean() - half), pytest.approx(values.mean() + half))
    assert ends([3.0] * 4, Scale()) == (3, 3)
    assert ends([3.0] * 4, Scale(0)) == (3, 3)


def test_rows_of_one_group_are_one_observation():
    rng = np.random.default_rng(1)
    for scale in (SHARE, Scale(0, 1), Scale()):
        values = rng.random(20)
        once = ends(values, scale)
        twice = ends(np.tile(values, 3), scale, np.tile(np.arange(20), 3))
        assert twice == (pytest.approx(once[0], abs=0.02), pytest.approx(once[1], abs=0.02))


def test_too_little_to_say_anything():
    none = bounded_interval(np.array([np.nan]), np.array([0]), SHARE)
    assert (none.count, np.isnan(none.mean)) == (0, True)
    one = bounded_interval(np.array([0.5, np.nan]), np.array([0, 1]), SHARE)
    assert (one.mean, one.low, one.high, one.count) == (0.5, -np.inf, np.inf, 1)


def test_scales_of_metrics():
    assert scale_of(Metric("share", "higher", "", 0, 1)) == SHARE
    assert scale_of(Metric("share", "higher", "", -1, 1)) == Scale(-1, 1)
    assert scale_of(Metric("dB", "higher", "", 0)) == Scale(0)
    assert scale_of(Metric("ms", "lower", "")) == Scale()
    assert scale_of(Metric("s", "higher", "", 0, until_horizon=True), 60) == Scale(0, 60, share=True)
    assert SHARE.differences() == Scale(-1, 1)
    assert Scale(0).differences() == Scale()
