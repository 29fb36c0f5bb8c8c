"""Latency: time to the first picture, to every next chunk, and to the first chunk after a prompt switch.

Each repeat is a separate process, alone on the machine; a short video before the measured one warms it up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.backbone.presets import Backbone
from harness.memory import Strategy
from harness.suite import Chart, Column, CostSuite, Display, Margin, Metric, Sample, Table, Task
from suites.cost_suite import REPEATS, Score, repeats, scored, script, settled, timed

if TYPE_CHECKING:
    import pandas as pd

FRAMES = {"gate": 96, "quick": 480, "full": 960, "long": 960}
GATE_REPEATS = 6
"""A gate uses short videos and many processes, because processes vary more than chunks within them."""
SWITCHES = 4
TOLD = Margin(relative=0.1, absolute=0.5, gated=False)
"""Margin of latencies with too few values in a run for a verdict; reported only."""
RARE = 100
"""Number of chunks below which the 99th percentile is not given."""


class Latency(CostSuite):
    """Milliseconds to the first picture, to the next chunk's, and to the first one after a prompt switch."""

    name = "latency"
    version = "1"
    tiers = tuple(FRAMES)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        of = "milliseconds to a chunk's pictures, in the steady state"
        return {
            "first_ms": Metric("ms", "lower", "from a prompt to the first pictures in a warm process", 0, margin=TOLD),
            "chunk_p50_ms": Metric("ms", "lower", f"{of}: median", 0, margin=Margin(relative=0.05, absolute=0.2)),
            "chunk_p90_ms": Metric("ms", "lower", f"{of}: 90th percentile", 0, margin=TOLD),
            "chunk_p99_ms": Metric("ms", "lower", f"{of}: 99th percentile; {RARE} chunks or more", 0),
            "switch_ms": Metric("ms", "lower", "to the pictures of the chunk after a prompt switch", 0, margin=TOLD),
            "first_seconds": Metric("s", "lower", "to the first pictures"),
            "chunk_seconds": Metric("s", "lower", "of a chunk: commit pass of the one before, denoising, decoder"),
            "switch_seconds": Metric("s", "lower", "of a chunk that begins with a prompt switch"),
            "steady_from": Metric("latent frames", "neither", "frames before the steady state"),
        }

    def tasks(self, backbone: Backbone, tier: str, seed: int = 0) -> list[Task]:
        frames, chunk = FRAMES[tier], backbone.chunk
        starts = [0, *(chunk * round(frames * (0.4 + 0.6 * n / SWITCHES) / chunk) for n in range(SWITCHES))]
        return repeats(frames, script(backbone, starts), "switches", GATE_REPEATS if tier == "gate" else REPEATS, seed)

    def measure(
        self,
        backbone: Backbone,
        strategy: Strategy,
        task: Task,
        began: float,
        *,
        between_chunks: Callable[[], None] | None = None,
    ) -> list[Sample]:
        (row,) = task.rows
        few = replace(task, frames=3 * backbone.chunk, rows=(replace(row, script=row.script[:1]),))
        timed(backbone, strategy, few, between_chunks=between_chunks)
        timing = timed(backbone, strategy, task, between_chunks=between_chunks)
        ends, waits = timing.ends, [d + p for d, p in zip(timing.drawn, timing.decoded, strict=True)]
        turns = {start for start, _ in row.script[1:]}
        samples = [Sample(0, "first_seconds", ends[0], timing.before + waits[0])]
        for before, end, seconds in zip(ends, ends[1:], waits[1:], strict=False):
            samples.append(Sample(0, "switch_seconds" if before in turns else "chunk_seconds", end, seconds))
        return [*samples, Sample(0, "steady_from", task.frames, settled(backbone, strategy, task.frames))]

    def display(self, there: Collection[tuple[str, str]]) -> Display:
        columns = (
            Column("switches", "first_ms", "first picture (ms)"),
            Column("switches", "chunk_p50_ms", "chunk p50"),
            Column("switches", "chunk_p90_ms", "p90"),
            Column("switches", "chunk_p99_ms", "p99", absent="n too small", beside="chunk_p50_ms"),
            Column("switches", "switch_ms", "after a switch"),
        )
        return Display(
            tables=(Table("what it costs: speed", columns),), charts=(Chart("chunk-latency", "waits"),), order=50
        )

    def scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        return scored(samples, _waits)


def _waits(curves: Mapping[str, pd.Series]) -> dict[str, Score]:
    chunks = curves["chunk_seconds"]
    steady = chunks[chunks.index > curves["steady_from"].iloc[0]]
    found = {
        "first_ms": curves["first_seconds"].iloc[0],
        "chunk_p50_ms": steady.quantile(0.5),
        "chunk_p90_ms": steady.quantile(0.9),
    }
    if len(steady) >= RARE:
        found["chunk_p99_ms"] = steady.quantile(0.99)
    if "switch_seconds" in curves:
        found["switch_ms"] = curves["switch_seconds"].median()
    return {name: 1000 * seconds for name, seconds in found.items()}
