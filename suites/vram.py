"""Memory: what is planned, what is held, what the device has to give, and whether any of it grows.

A pass of its own, since readings take time. On CUDA the allocator's own figures; on a CPU, where torch keeps none, the
memory of the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from harness import meter, registry
from harness.backbone.presets import Backbone
from harness.memory import Memory, Strategy
from harness.plan import plan
from harness.suite import CostSuite, Metric, Sample, Task
from suites.clocked import repeats, settled, timed
from suites.drift import HORIZONS

if TYPE_CHECKING:
    import pandas as pd

FRAMES = {"quick": 240, "full": 960, "long": 14_400}
REPEATS = 2
"""Bytes hardly differ from run to run."""
CURVES = ("cache_bytes", "allocated_bytes", "resident_bytes")


class Vram(CostSuite):
    """Bytes by owner, their peak, and their growth a chunk."""

    name = "vram"
    version = "1"
    tiers = tuple(FRAMES)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {
            "cache_bytes": Metric("B", "lower", "held by the memory between chunks", 0),
            "planned_cache_bytes": Metric("B", "lower", "the same on paper", 0),
            "planned_laid_out_bytes": Metric("B", "lower", "contexts ready to attend to, on paper", 0),
            "planned_peak_bytes": Metric("B", "lower", "weights, cache, contexts and a chunk's work, on paper", 0),
            "weights_bytes": Metric("B", "lower", "of the model", 0),
            "encoder_bytes": Metric("B", "lower", "of the text encoder", 0),
            "decoder_bytes": Metric("B", "lower", "of the codec", 0),
            "allocated_bytes": Metric("B", "lower", "of tensors on the device (CUDA)", 0),
            "reserved_bytes": Metric("B", "lower", "that torch has taken from the device (CUDA)", 0),
            "resident_bytes": Metric("B", "lower", "of the process (CPU)", 0),
            "peak_bytes": Metric("B", "lower", "most at once: of tensors (CUDA), or that the process grew by (CPU)", 0),
            "growth_bytes": Metric("B/chunk", "lower", "of the cache, in the steady state"),
            "process_growth_bytes": Metric("B/chunk", "lower", "of tensors (CUDA) or of the process (CPU)"),
            "steady_from": Metric("latent frames", "neither", "frames before the steady state"),
        }

    def tasks(self, backbone: Backbone, tier: str, seed: int = 0) -> list[Task]:
        text = backbone.prompts[0] if backbone.prompts else ""
        return repeats(FRAMES[tier], ((0, text),), "stream", REPEATS, seed)

    def measure(self, backbone: Backbone, strategy: Strategy, task: Task, began: float) -> list[Sample]:
        device = backbone.model.device
        cuda = device.type == "cuda"
        samples: list[Sample] = []
        opened: list[Memory] = []

        def note(end: int, **values: float) -> None:
            samples.extend(Sample(0, name, end, value) for name, value in values.items())

        def each(end: int) -> None:
            note(end, cache_bytes=opened[0].nbytes())
            if cuda:
                note(end, allocated_bytes=torch.cuda.memory_allocated(device))
                note(end, reserved_bytes=torch.cuda.memory_reserved(device))
            else:
                note(end, resident_bytes=meter.resident())

        def watch(memory: Memory) -> Memory:
            opened.append(memory)
            return memory

        # What torch allocates once a process, for its kernels and threads, is nobody's.
        few = Task(task.scenario, 3 * backbone.chunk, 0, task.rows)
        timed(backbone, strategy, few)
        if cuda:
            torch.cuda.reset_peak_memory_stats(device)
        meter.forget_peak()
        before = meter.resident()
        timed(backbone, strategy, task, watch=watch, each=each)
        peak = torch.cuda.max_memory_allocated(device) if cuda else meter.resident_peak() - before
        paper = registry.backbone(backbone.name, device="meta", dtype=str(backbone.model.dtype).removeprefix("torch."))
        planned = plan(strategy, paper, backbone.latent_size, task.frames)
        note(
            task.frames,
            peak_bytes=peak,
            planned_cache_bytes=planned.cache_bytes,
            planned_laid_out_bytes=planned.laid_out_bytes,
            planned_peak_bytes=planned.peak_bytes,
            weights_bytes=_bytes(strategy.adapt(backbone).model),
            encoder_bytes=_bytes(backbone.text),
            decoder_bytes=_bytes(backbone.codec),
            steady_from=settled(backbone, strategy, task.frames),
        )
        return samples

    def scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        keys = [name for name in samples.columns if name not in ("metric", "at_frame", "value")]
        scored = []
        for key, part in samples.groupby(keys, observed=True, dropna=False):
            about = dict(zip(keys, key, strict=True))
            of = {name: each.set_index("at_frame")["value"] for name, each in part.groupby("metric")}
            frames, steady = about["horizon_latent_frames"], of["steady_from"].iloc[0]
            rate = about["horizon_seconds"] / frames
            found = {name: values.iloc[-1] for name, values in of.items() if name not in ("steady_from", *CURVES)}
            process = of.get("allocated_bytes", of.get("resident_bytes"))
            found |= {
                "growth_bytes": _growth(of["cache_bytes"], steady),
                "process_growth_bytes": _growth(process, steady),
            }
            scored += [{**about, "metric": n, "at_frame": frames, "value": v} for n, v in found.items()]
            for name in CURVES:
                for horizon in sorted({*(h for h in HORIZONS if h <= frames), frames} if name in of else ()):
                    length = {"horizon_latent_frames": horizon, "horizon_seconds": horizon * rate, "at_frame": horizon}
                    value = of[name][of[name].index <= horizon].iloc[-1]
                    scored.append({**about, **length, "metric": name, "value": value})
        return pd.DataFrame(scored)[list(samples.columns)]


def _bytes(part: Any) -> int:
    if not isinstance(part, nn.Module):
        return 0
    return sum(x.nbytes for x in (*part.parameters(), *part.buffers()))


def _growth(curve: pd.Series, steady: float) -> float:
    """Bytes a chunk, by least squares."""
    late = curve[curve.index > steady]
    return float(np.polyfit(np.arange(len(late)), late.to_numpy(dtype=float), 1)[0]) if len(late) > 1 else float("nan")
