"""A campaign's recorded seconds as pytest-benchmark's own: its tables, comparisons, histograms and storage, and nothing
is measured again.

`nox -s recorded` replays runs/cost, or the folder that HORIZON_CAMPAIGN names; where that is not set, a small campaign
of made-up seconds is replayed. Every sample is a round that takes its seconds by a clock of its own. The machine and
the commit that pytest-benchmark stores are where the replay ran; where the campaign ran is in each benchmark's
`extra_info`.
"""

from __future__ import annotations

import itertools
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.store.store import Store
from reports.arms import Entrant, entrants
from reports.tables import tidy
from tests.reports import folders

NAMED = os.environ.get("HORIZON_CAMPAIGN")
SUITES = {"chunk_seconds": "fps", "switch_seconds": "latency"}
"""Replayed metrics, each with the suite that measures it."""


@dataclass(frozen=True)
class Recorded:
    """Seconds of one metric of one arm, from all processes that measured it, in their order."""

    arm: Entrant
    backbone: str
    processes: int
    seconds: list[float]


class Clock:
    """Clock that stands still until it is set forward."""

    __name__ = "recorded"  # what stored files call the timer
    now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


def series(table: pd.DataFrame, arms: Sequence[Entrant]) -> dict[tuple[str, str], Recorded]:
    """Return the measurements of a tidy table by arm and metric; only those of chunks in the steady state."""
    found = {}
    for arm, (metric, suite) in itertools.product(arms, SUITES.items()):
        part = table[(table["strategy"] == arm.strategy) & (table["knobs"] == arm.knobs) & (table["suite"] == suite)]
        rows = part[part["metric"] == metric].dropna(subset="value").sort_values(["repeat", "at_frame"])
        if metric == "chunk_seconds":
            steady = part[part["metric"] == "steady_from"].set_index("cell")["value"].to_dict()
            rows = rows[rows["at_frame"] > rows["cell"].map(steady).astype(float)]
        if len(rows):
            (backbone,) = rows["backbone"].unique()
            found[arm.label, metric] = Recorded(arm, backbone, rows["cell"].nunique(), rows["value"].tolist())
    return found


def labels() -> list[str]:
    """The campaign's arms, from its manifest alone: samples are read when the first test asks for them."""
    return [arm["label"] for arm in Store(Path(NAMED)).manifest()["asked"]["arms"]] if NAMED else [*folders.COSTS]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(Path(NAMED) if NAMED else folders.cost(tmp_path_factory.mktemp("runs") / "cost"))


@pytest.fixture(scope="module")
def recorded(store: Store) -> dict[tuple[str, str], Recorded]:
    return series(tidy(store), entrants(store))


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("metric", SUITES)
@pytest.mark.parametrize("label", labels())
def test_replayed(
    benchmark: BenchmarkFixture, store: Store, recorded: dict[tuple[str, str], Recorded], label: str, metric: str
) -> None:
    if NAMED and (label, metric) not in recorded:
        pytest.skip(f"{NAMED} has no {metric} of {label}; suite {SUITES[metric]} measures it")
    known = recorded[label, metric]
    manifest = store.manifest()
    benchmark.group = metric
    benchmark.extra_info |= {
        "strategy": known.arm.strategy,
        "knobs": known.arm.values,
        "backbone": known.backbone,
        "processes": known.processes,
        "campaign": manifest["name"],
        "environments": manifest["environments"],
    }
    # Without end, since pytest-benchmark calls once more where it profiles.
    passing = itertools.cycle(known.seconds)

    def chunk() -> None:
        CLOCK.now += next(passing)

    benchmark.pedantic(chunk, rounds=len(known.seconds), iterations=1, warmup_rounds=0)
    if benchmark.enabled:
        found = benchmark.stats
        assert found["rounds"] == len(known.seconds)
        assert found["median"] == pytest.approx(statistics.median(known.seconds), rel=1e-9)
        assert found["mean"] == pytest.approx(statistics.fmean(known.seconds), rel=1e-9)


def test_series_of_a_table() -> None:
    """Two arms of one strategy; rollouts that settle at different times; an other suite's metric of the same name."""
    small, large, unmeasured = (Entrant(name, "memrope", name, {}, (), 0, 0) for name in ("small", "large", "none"))
    rows = [
        ("small", "fps", "cell b", 1, "steady_from", 12, 3),
        ("small", "fps", "cell b", 1, "chunk_seconds", 3, 9.0),
        ("small", "fps", "cell b", 1, "chunk_seconds", 9, 0.4),
        ("small", "fps", "cell b", 1, "chunk_seconds", 6, 0.3),
        ("small", "fps", "cell a", 0, "steady_from", 12, 6),
        ("small", "fps", "cell a", 0, "chunk_seconds", 6, 9.0),
        ("small", "fps", "cell a", 0, "chunk_seconds", 9, 0.2),
        ("small", "fps", "cell a", 0, "chunk_seconds", 12, None),
        ("small", "fps", "cell a", 0, "decode_seconds", 9, 7.0),
        ("small", "latency", "cell c", 0, "steady_from", 12, 3),
        ("small", "latency", "cell c", 0, "chunk_seconds", 9, 8.0),
        ("small", "latency", "cell c", 0, "switch_seconds", 3, 0.5),
        ("large", "latency", "cell d", 0, "switch_seconds", 6, 0.6),
        ("large", "latency", "cell d", 0, "switch_seconds", 3, 0.7),
    ]
    table = pd.DataFrame(rows, columns=["knobs", "suite", "cell", "repeat", "metric", "at_frame", "value"])
    table = table.assign(strategy="memrope", backbone="pocket").astype({"cell": "category", "metric": "category"})
    assert series(table, [small, large, unmeasured]) == {
        ("small", "chunk_seconds"): Recorded(small, "pocket", 2, [0.2, 0.3, 0.4]),
        ("small", "switch_seconds"): Recorded(small, "pocket", 1, [0.5]),
        ("large", "switch_seconds"): Recorded(large, "pocket", 1, [0.7, 0.6]),
    }
