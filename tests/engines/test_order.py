"""The order in which several workers take cells."""

import random
from types import SimpleNamespace

import pytest

from harness.engines.sharing.order import from_shard, longest_first
from harness.suite import Row, Task
from suites.fps import Fps
from tests.benchmarks.makespan import makespan


def cell(suite, number, arm, frames, rows=1):
    task = Task("steady", frames, 0, tuple(Row(number * 100 + row, ((0, "a"),)) for row in range(rows)))
    return SimpleNamespace(
        id=f"{suite}-{number}-{arm}", suite=Fps() if suite == "fps" else SimpleNamespace(name=suite),
        task=task, skip=None, arm=SimpleNamespace(label=arm),
    )  # fmt: skip


def test_the_first_task_of_a_suite_stays_first_and_the_others_go_by_length():
    planned = [
        cell(suite, number, arm, frames)
        for suite, lengths in (("drift", (3, 30, 300)), ("recall", (60, 600)), ("fps", (5, 50)))
        for number, frames in enumerate(lengths)
        for arm in "ab"
    ]
    ordered = [(each.suite.name, each.task.frames, each.arm.label) for each in longest_first(planned)]
    expected = [("drift", 3), ("recall", 60), ("recall", 600), ("drift", 300), ("drift", 30), ("fps", 5), ("fps", 50)]
    assert ordered == [(*each, arm) for each in expected for arm in "ab"]


def test_a_task_stays_together_where_an_arm_ends_earlier():
    planned = [
        cell("drift", 0, "a", 3),
        cell("drift", 1, "a", 9),
        cell("drift", 1, "full", 6),
        cell("drift", 2, "a", 8),
    ]
    assert [each.id for each in longest_first(planned)] == ["drift-0-a", "drift-1-a", "drift-1-full", "drift-2-a"]


def test_a_shard_comes_first_and_nothing_is_left_out():
    assert from_shard(range(7), 1, 3) == [1, 4, 0, 2, 3, 5, 6]
    assert from_shard(range(3), 0, 1) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_sixty_four_workers_end_near_the_ideal(seed):
    """14 strategies and 128 tasks whose lengths differ a hundredfold."""
    rng = random.Random(seed)
    factors = {arm: rng.uniform(0.6, 2.4) for arm in map(str, range(14))}
    planned = [
        cell(f"suite-{number % 4}", number, arm, frames)
        for number in range(128)
        for frames in [rng.choice((21, 120, 240, 960, 1920))]
        for arm in factors
    ]
    lengths = {each.id: each.task.frames * factors[each.arm.label] for each in planned}
    ideal = max(sum(lengths.values()) / 64, *lengths.values())
    ordered = [each.id for each in longest_first(planned)]
    assert makespan([ordered] * 64, lengths) <= 1.02 * ideal
    assert makespan([from_shard(ordered, number, 64) for number in range(64)], lengths) <= 1.10 * ideal
