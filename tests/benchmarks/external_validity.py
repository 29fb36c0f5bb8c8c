"""Do memories come out in the order of published tables? Kendall's tau between a campaign on the pocket and each table.

horizon run --out runs/compare; python -m tests.benchmarks.external_validity runs/compare

Published tables of `docs/reproduce.md` with at least four strategies that are here. For each of them and each score of
the pocket: tau-b over the strategies in common, with the 95 % interval of a bootstrap over the pocket's rollouts. The
published numbers are taken as exact, since no paper states their spread. With four to six strategies only a tau near 1
or -1 is unlikely under chance; the last column is the exact probability of a tau at least as high under random order.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np

from harness.store.store import Store
from reports.arms import entrants
from reports.statistics.bootstrap import kendall
from reports.tables import scores, tidy

PUBLISHED: dict[str, dict[str, float]] = {
    "Echo-Forcing, 60 s, aesthetic": {
        "sliding_window": 56.32, "infinity_rope": 58.49, "attention_sink": 59.48, "echo_forcing": 61.69,
        "deep_forcing": 58.65, "rolling_sink": 61.61,
    },
    "Echo-Forcing, 60 s, imaging": {
        "sliding_window": 68.26, "infinity_rope": 70.36, "attention_sink": 67.97, "echo_forcing": 72.09,
        "deep_forcing": 69.04, "rolling_sink": 71.89,
    },
    "Echo-Forcing, 60 s, subject": {
        "sliding_window": 96.40, "infinity_rope": 96.27, "attention_sink": 96.18, "echo_forcing": 97.17,
        "deep_forcing": 95.72, "rolling_sink": 97.84,
    },
    "Echo-Infinity, 240 s, quality": {
        "attention_sink": 79.79, "infinity_rope": 79.99, "echo_infinity": 81.23, "memflow": 79.31,
    },
    "Echo-Infinity, 60 s interactive, quality": {
        "attention_sink": 79.38, "infinity_rope": 79.22, "echo_infinity": 81.71, "memflow": 79.91,
    },
    "VideoMLA, 60 s, overall": {
        "sliding_window": 0.755, "attention_sink": 0.773, "infinity_rope": 0.803, "videomla": 0.859,
        "deep_forcing": 0.769,
    },
    "MemRoPE, 240 s, mean of six": {
        "sliding_window": 83.04, "infinity_rope": 82.84, "memrope": 84.89, "deep_forcing": 81.66,
    },
}  # fmt: skip
"""Published numbers, higher is better, by table and the strategy that stands here for the published arm."""
SCORES = {
    "unsaid identity": ("drift", "steady", "unsaid_identity"),
    "motion": ("drift", "steady", "motion"),
    "latest state": ("drift", "evolve", "latest"),
}
"""Scores of the pocket at the longest horizon: suite, scenario, metric."""
DRAWS = 2000


def measured(folder: Path, suite: str, scenario: str, metric: str) -> dict[str, dict[tuple[str, int], float]]:
    """Return the score of every rollout (prompt, seed) at the longest horizon, by strategy at its published knobs."""
    store = Store(folder)
    found = scores(tidy(store))
    found = found[(found["suite"] == suite) & (found["scenario"] == scenario) & (found["metric"] == metric)]
    found = found[found["horizon_latent_frames"] == found["horizon_latent_frames"].max()]
    arms = {}
    for arm in entrants(store):
        mine = found[(found["strategy"] == arm.strategy) & (found["knobs"] == arm.knobs)]
        if len(mine) and "as published" in arm.tables and arm.strategy not in arms:
            arms[arm.strategy] = {(row.prompt, row.seed): row.value for row in mine.itertuples()}
    return arms


def compared(ours: dict[str, dict[tuple[str, int], float]], theirs: dict[str, float]) -> tuple[int, list[float]]:
    """Return the number of strategies in common, and tau, both ends of its interval and its probability by chance."""
    names = [name for name in theirs if name in ours]
    if len(names) < 4:
        return len(names), []
    common = sorted(set.intersection(*(set(ours[name]) for name in names)))
    values = np.array([[ours[name][each] for each in common] for name in names])
    published = np.array([theirs[name] for name in names])
    rng = np.random.default_rng(0)
    drawn = [values[:, rng.integers(0, len(common), len(common))].mean(1) for _ in range(DRAWS)]
    taus = [kendall(each, published) for each in drawn]
    tau = kendall(values.mean(1), published)
    orders = [kendall(np.array(order), published) for order in itertools.permutations(range(len(names)))]
    chance = float(np.mean(np.array(orders) >= tau - 1e-9))
    low, high = np.nanquantile(taus, (0.025, 0.975))
    return len(names), [tau, float(low), float(high), chance]


def main() -> None:
    """Print a Markdown table."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/compare")
    print("| published table | score of the pocket | strategies | tau | 95 % interval | chance |")
    print("|---|---|---|---|---|---|")
    for score, where in SCORES.items():
        ours = measured(folder, *where)
        for table, theirs in PUBLISHED.items():
            count, found = compared(ours, theirs)
            told = "{:+.2f} | {:+.2f} to {:+.2f} | {:.2f}".format(*found) if found else "too few | |"
            print(f"| {table} | {score} | {count} | {told} |")


if __name__ == "__main__":
    main()
