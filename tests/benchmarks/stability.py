"""Is the ranking the same on other scenes? Compares every pair of arms in two campaigns of disjoint seeds, by unsaid
identity.

horizon run --seed 0 --out runs/a; horizon run --seed 1 --out runs/b
python -m tests.benchmarks.stability runs/a runs/b
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from harness.store.store import Store
from reports.arms import entrants
from reports.statistics.bootstrap import Interval, interval, kendall
from reports.tables import scores, tidy

METRIC, FRAMES = "unsaid_identity", 240


def levels(folder: Path) -> dict[str, pd.Series]:
    """Return the unsaid identity at 240 frames of every rollout, by arm."""
    store = Store(folder)
    scored = scores(tidy(store))
    scored = scored[(scored["metric"] == METRIC) & (scored["horizon_latent_frames"] == FRAMES)]
    found = {}
    for arm in entrants(store):
        mine = scored[(scored["strategy"] == arm.strategy) & (scored["knobs"] == arm.knobs)]
        if len(mine):
            found[arm.label] = mine.set_index(["scenario", "prompt", "seed"])["value"]
    return found


def difference(one: pd.Series, other: pd.Series) -> Interval:
    off = (one - other).dropna()
    return interval(off.to_numpy(), np.array([str(key) for key in off.index]), off.index.get_level_values(0).to_numpy())


def main() -> None:
    first, second = (levels(Path(folder)) for folder in sys.argv[1:3])
    assert not set(next(iter(first.values())).index) & set(next(iter(second.values())).index)
    arms = [arm for arm in first if arm in second]
    for arm in arms:
        print(f"{arm:40} {first[arm].mean():.3f} of {len(first[arm])}   {second[arm].mean():.3f} of {len(second[arm])}")
    reversed_pairs = ordered = 0
    for one, other in itertools.combinations(arms, 2):
        here, there = difference(first[one], first[other]), difference(second[one], second[other])
        ordered += here.excludes_zero
        if here.excludes_zero and there.excludes_zero and np.sign(here.mean) != np.sign(there.mean):
            reversed_pairs += 1
            print(f"reversed: {one}, {other}: {here} and {there}")
    tau = kendall(*(np.array([levels[arm].mean() for arm in arms]) for levels in (first, second)))
    total = len(arms) * (len(arms) - 1) // 2
    print(
        f"{ordered} of {total} pairs ordered in the first set, {reversed_pairs} reversed in the second; tau {tau:.2f}"
    )
    sys.exit(reversed_pairs > 0)


if __name__ == "__main__":
    main()
