"""Is the ranking the same on other scenes? Compares every pair of arms over the scenes of two seeds of a campaign.

horizon run --suite drift --seeds 2 --out runs/two
python -m tests.benchmarks.stability runs/two

For each score: how many pairs of arms have a 95 % interval of their difference that excludes zero over the scenes of
seed 0, and how many of these have one of the other sign over those of seed 1. Exit code 1 if there is any.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from harness.limits import SEEDS_APART
from harness.store.store import Store
from reports.arms import Entrant, entrants
from reports.statistics.bootstrap import Interval, interval, kendall
from reports.tables import scores, tidy
from suites.drift import FIRST_SEED

SCORES = (("steady", "unsaid_identity"), ("evolve", "latest"))
"""Scenario and metric, at 240 latent frames."""
FRAMES = 240


def levels(scored: pd.DataFrame, arms: Sequence[Entrant], seed: int) -> dict[str, pd.Series]:
    """Return the score of every rollout of the scenes of one seed of a campaign, by arm."""
    scored = scored[(scored["seed"] - FIRST_SEED) // SEEDS_APART == seed]
    found = {}
    for arm in arms:
        mine = scored[(scored["strategy"] == arm.strategy) & (scored["knobs"] == arm.knobs)]
        if len(mine):
            found[arm.label] = mine.set_index(["scenario", "prompt", "seed"])["value"]
    return found


def difference(one: pd.Series, other: pd.Series) -> Interval:
    off = (one - other).dropna()
    return interval(off.to_numpy(), np.array([str(key) for key in off.index]))


def compared(scored: pd.DataFrame, entered: Sequence[Entrant]) -> int:
    """Print the levels of all arms for both seeds, and return the number of pairs whose order is reversed."""
    first, second = (levels(scored, entered, seed) for seed in (0, 1))
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
    tau = kendall(*(np.array([found[arm].mean() for arm in arms]) for found in (first, second)))
    total = len(arms) * (len(arms) - 1) // 2
    print(f"{ordered} of {total} pairs ordered by seed 0, {reversed_pairs} reversed by seed 1; tau {tau:.2f}\n")
    return reversed_pairs


def main() -> None:
    """Compare both scores of the campaign in a folder."""
    store = Store(Path(sys.argv[1]))
    arms, scored = entrants(store), scores(tidy(store))
    scored = scored[scored["horizon_latent_frames"] == FRAMES]
    reversed_pairs = 0
    for scenario, metric in SCORES:
        print(f"{metric}, {scenario}: seed 0, seed 1")
        reversed_pairs += compared(scored[(scored["scenario"] == scenario) & (scored["metric"] == metric)], arms)
    sys.exit(reversed_pairs > 0)


if __name__ == "__main__":
    main()
