"""Memory: bytes planned, bytes held, the device's peak, and growth over the video.

Measured in a separate pass, since readings take time. On CUDA the allocator's own figures are read; on a CPU, where
torch has none, every tensor is counted at its creation and release, and the process is measured from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from harness import registry
from harness.backbone.presets import Backbone
from harness.measure import meter
from harness.measure.counting import weighed
from harness.memory import At, Memory, Strategy
from harness.memory.proxy import Watched
from harness.plan.device import at_hand
from harness.plan.planning import plan
from harness.suite import Chart, Column, CostSuite, Display, Margin, Metric, Sample, Table, Task
from suites.cost_suite import Score, horizons, repeats, scored, script, settled, timed

if TYPE_CHECKING:
    import pandas as pd

FRAMES = {"gate": 45, "quick": 240, "full": 960, "long": 14_400}
REPEATS = 2
"""Few, because bytes hardly differ from run to run."""
CURVES = ("cache_bytes", "archive_bytes", "allocated_bytes", "resident_bytes")


class Vram(CostSuite):
    """Bytes by owner, their peak, and their growth a chunk."""

    name = "vram"
    version = "1"
    tiers = tuple(FRAMES)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {
            "cache_bytes": Metric("B", "lower", "held by the memory between chunks", 0, margin=Margin(relative=0.01)),
            "planned_cache_bytes": Metric("B", "lower", "the same, computed by the plan", 0),
            "planned_laid_out_bytes": Metric("B", "lower", "contexts ready to attend to, computed by the plan", 0),
            "planned_peak_bytes": Metric("B", "lower", "weights, cache, contexts, work of a chunk, by the plan", 0),
            "bound_seconds": Metric("s", "lower", "least time of a chunk, by this device's roofline", 0),
            "archive_bytes": Metric("B", "lower", "put away in the host's memory by then", 0),
            "planned_archive_bytes": Metric("B", "lower", "the same on paper", 0),
            "archive_growth_bytes": Metric(
                "B/chunk", "lower", "of what is put away in the host's memory, in the steady state"
            ),
            "weights_bytes": Metric("B", "lower", "of the model", 0),
            "encoder_bytes": Metric("B", "lower", "of the text encoder", 0),
            "decoder_bytes": Metric("B", "lower", "of the codec", 0),
            "allocated_bytes": Metric("B", "lower", "of tensors on the device (CUDA)", 0),
            "reserved_bytes": Metric("B", "lower", "that torch has taken from the device (CUDA)", 0),
            "resident_bytes": Metric("B", "lower", "of the process (CPU)", 0),
            "peak_bytes": Metric(
                "B",
                "lower",
                "of tensors at once, at most: weights, memory, contexts, a chunk's work",
                0,
                margin=Margin(relative=0.03),
            ),
            "resident_peak_bytes": Metric("B", "lower", "that the process grew by, at most (CPU)"),
            "growth_bytes": Metric(
                "B/chunk", "lower", "of the cache, in the steady state", margin=Margin(absolute=1000)
            ),
            "process_growth_bytes": Metric("B/chunk", "lower", "of tensors (CUDA) or of the process (CPU)"),
            "steady_from": Metric("latent frames", "neither", "frames before the steady state"),
        }

    def tasks(self, backbone: Backbone, tier: str, seed: int = 0) -> list[Task]:
        return repeats(FRAMES[tier], script(backbone), "stream", REPEATS, seed)

    def measure(
        self,
        backbone: Backbone,
        strategy: Strategy,
        task: Task,
        began: float,
        *,
        between_chunks: Callable[[], None] | None = None,
    ) -> list[Sample]:
        device = backbone.model.device
        cuda = device.type == "cuda"
        samples: list[Sample] = []

        def note(end: int, **values: float) -> None:
            samples.extend(Sample(0, name, end, value) for name, value in values.items())

        def each(end: int) -> None:
            if cuda:
                note(end, allocated_bytes=torch.cuda.memory_allocated(device))
                note(end, reserved_bytes=torch.cuda.memory_reserved(device))
            else:
                note(end, resident_bytes=meter.resident())

        # A short video first: torch's one-time allocations for kernels and threads must not count for the strategy.
        few = Task(task.scenario, 3 * backbone.chunk, 0, task.rows)
        timed(backbone, strategy, few, between_chunks=between_chunks)
        if cuda:
            torch.cuda.reset_peak_memory_stats(device)
        meter.forget_peak()
        before = meter.resident()
        weights = _bytes(strategy.adapt(backbone).model)
        watch = partial(_Weighed, note=note)
        run = partial(timed, watch=watch, each=each, between_chunks=between_chunks)
        if cuda:
            run(backbone, strategy, task)
            note(task.frames, peak_bytes=torch.cuda.max_memory_allocated(device))
        else:
            # What compiled code allocates is not seen there; it holds the same tensors.
            with weighed() as count:
                run(replace(backbone, compile="off"), strategy, task)
            note(task.frames, peak_bytes=weights + count.peak_bytes, resident_peak_bytes=meter.resident_peak() - before)
        paper = registry.open_backbone(replace(backbone.request(), device="meta"))
        planned = plan(strategy, paper, backbone.latent_size, task.frames)
        if planned.archive_bytes:
            note(task.frames, planned_archive_bytes=planned.archive_bytes)
        note(
            task.frames,
            planned_cache_bytes=planned.cache_bytes,
            planned_laid_out_bytes=planned.laid_out_bytes,
            planned_peak_bytes=planned.peak_bytes,
            bound_seconds=planned.bound(at_hand(backbone.model.dtype, device.type)).chunk_seconds,
            weights_bytes=weights,
            encoder_bytes=_bytes(backbone.text),
            decoder_bytes=_bytes(backbone.codec),
            steady_from=settled(backbone, strategy, task.frames),
        )
        return samples

    def display(self, there: Collection[tuple[str, str]]) -> Display:
        columns = (
            Column("stream", "cache_bytes", "cached"),
            Column("stream", "planned_cache_bytes", "planned"),
            Column("stream", "planned_laid_out_bytes", "laid out, planned"),
            Column("stream", "weights_bytes", "weights"),
            Column("stream", "encoder_bytes", "text encoder"),
            Column("stream", "decoder_bytes", "decoder"),
            Column("stream", "peak_bytes", "peak"),
            Column("stream", "planned_peak_bytes", "peak, planned"),
            Column("stream", "growth_bytes", "cache grows a chunk by"),
            Column("stream", "process_growth_bytes", "process grows a chunk by"),
            Column("stream", "archive_bytes", "archived"),
            Column("stream", "planned_archive_bytes", "archived, planned"),
            Column("stream", "archive_growth_bytes", "archive grows a chunk by"),
        )
        return Display(
            tables=(Table("what it costs: memory", columns),), charts=(Chart("cost-over-the-video", "cost"),), order=60
        )

    def scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        return scored(samples, _bytes_of)


def _bytes_of(curves: Mapping[str, pd.Series]) -> dict[str, Score]:
    cache, steady = curves["cache_bytes"], curves["steady_from"].iloc[0]
    process = curves["allocated_bytes"] if "allocated_bytes" in curves else curves["resident_bytes"]
    found: dict[str, Score] = {
        name: values.iloc[-1] for name, values in curves.items() if name not in ("steady_from", *CURVES)
    }
    found |= {"growth_bytes": _growth(cache, steady), "process_growth_bytes": _growth(process, steady)}
    if "archive_bytes" in curves:
        found["archive_growth_bytes"] = _growth(curves["archive_bytes"], steady)
    for name in CURVES:
        if name in curves:
            curve = curves[name]
            ends = [horizon for horizon in horizons(int(cache.index.max())) if horizon >= curve.index[0]]
            found[name] = {end: curve[curve.index <= end].iloc[-1] for end in ends}
    return found


class _Weighed(Watched):
    """Records the bytes that a memory holds after each chunk."""

    def __init__(self, inner: Memory, note: Callable[..., None]) -> None:
        super().__init__(inner)
        self.note = note

    def see(self, latents: Tensor, at: At) -> None:
        self.inner.see(latents, at)
        end = at.start + at.frames
        self.note(end, cache_bytes=self.inner.nbytes())
        # Only of memories that archive anything.
        if archived := self.inner.archive_nbytes():
            self.note(end, archive_bytes=archived)


def _bytes(part: Any) -> int:
    if not isinstance(part, nn.Module):
        return 0
    return sum(x.nbytes for x in (*part.parameters(), *part.buffers()))


def _growth(curve: pd.Series, steady: float) -> float:
    """Return the growth in bytes a chunk, by least squares.

    It is 0 for sizes that repeat every few chunks, whose slope depends only on where the curve begins and ends.
    """
    late = curve[curve.index > steady]
    values = late.to_numpy()
    if len(set(values)) > 1 and any((values[turn:] == values[:-turn]).all() for turn in range(2, len(values) // 2 + 1)):
        return 0.0
    return float(np.polyfit(np.arange(len(late)), late.to_numpy(dtype=float), 1)[0]) if len(late) > 1 else float("nan")
