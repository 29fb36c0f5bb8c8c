"""Kendall's tau between the pocket's order and a published one."""

import pytest

from tests.benchmarks.external_validity import compared

THEIRS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}


def rollouts(levels):
    return {name: {("p", seed): level + 0.01 * (seed % 3) for seed in range(12)} for name, level in levels.items()}


def test_the_same_order_and_the_reversed_one():
    count, found = compared(rollouts({"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.9, "other": 0.0}), THEIRS)
    assert count == 4
    assert found == pytest.approx([1, 1, 1, 1 / 24])
    count, found = compared(rollouts({"a": 0.9, "b": 0.5, "c": 0.3, "d": 0.1}), THEIRS)
    assert found == pytest.approx([-1, -1, -1, 1])


def test_three_strategies_are_too_few():
    assert compared(rollouts({"a": 0.1, "b": 0.2, "c": 0.3}), THEIRS) == (3, [])


def test_rollouts_that_disagree_widen_the_interval():
    ours = rollouts({"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.5})
    ours["d"] = {key: 1.0 if key[1] < 6 else 0.02 for key in ours["d"]}
    _, (tau, low, high, _) = compared(ours, THEIRS)
    assert low < tau <= high
