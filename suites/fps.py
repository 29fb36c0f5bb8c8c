"""Speed: pixel frames a second by three definitions, and the time of a chunk over the video.

Each repeat is a separate process that generates one video, alone on the machine. Rates are taken after the memory has
been replaced twice; for a memory that keeps everything, from the middle of the video on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from harness.backbone.presets import Backbone
from harness.memory import Strategy
from harness.suite import Chart, Column, CostSuite, Display, Margin, Metric, Sample, Table, Task
from suites.cost_suite import REPEATS, Score, horizons, repeats, scored, script, settled, streamed, timed

if TYPE_CHECKING:
    import pandas as pd

FRAMES = {"gate": 96, "quick": 240, "full": 960, "long": 14_400}
LATE = 0.85
"""A curve's value at a horizon is the mean over the part of the video from this share of the horizon on."""


class Fps(CostSuite):
    """Pixel frames a second of the DiT, of the whole stream, and from process start to the last picture."""

    name = "fps"
    version = "2"
    tiers = tuple(FRAMES)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {
            "dit_fps": Metric("frames/s", "higher", "pixel frames a second of the DiT alone, in the steady state", 0,
                              margin=Margin(relative=0.05)),
            "stream_fps": Metric("frames/s", "higher", "with chunks decoded as they come; on CUDA beside the next", 0),
            "wall_fps": Metric("frames/s", "higher", "pixel frames by the lifetime of the process", 0),
            "chunk_seconds": Metric("s", "lower", "of the DiT: denoising, and the commit pass of the chunk before"),
            "decode_seconds": Metric("s", "lower", "of the decoder, a chunk"),
            "stream_seconds": Metric("s", "lower", "between the pictures of two chunks, decoded beside the passes"),
            "start_seconds": Metric("s", "lower", "from a process's start to the first pass: imports, weights, prompt"),
            "whole_seconds": Metric("s", "lower", "from a process's start to the last picture"),
            "steady_from": Metric("latent frames", "neither", "frames before the steady state"),
            "pixel_frames": Metric("frames", "neither", "of the whole video"),
        }  # fmt: skip

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
        started = time.time() - began
        timing = timed(backbone, strategy, task, between_chunks=between_chunks)
        samples = [Sample(0, "chunk_seconds", *each) for each in zip(timing.ends, timing.drawn, strict=True)]
        if backbone.codec is not None:
            samples += [Sample(0, "decode_seconds", *each) for each in zip(timing.ends, timing.decoded, strict=True)]
            if backbone.model.device.type == "cuda":
                beside = streamed(backbone, strategy, task)
                samples += [Sample(0, "stream_seconds", *each) for each in beside]
        started += timing.before
        whole = started + sum(timing.drawn) + sum(timing.decoded)
        return [
            *samples,
            # Not known for a process that measures several videos.
            Sample(0, "start_seconds", timing.ends[0], started if math.isfinite(started) else None),
            Sample(0, "whole_seconds", task.frames, whole if math.isfinite(whole) else None),
            Sample(0, "steady_from", task.frames, settled(backbone, strategy, task.frames)),
            Sample(0, "pixel_frames", task.frames, backbone.pixel_frames(task.frames)),
        ]

    def display(self, there: Collection[tuple[str, str]]) -> Display:
        columns = (
            Column("stream", "dit_fps", "DiT (FPS)"),
            Column("stream", "stream_fps", "with decoder"),
            Column("stream", "wall_fps", "with start-up"),
        )
        return Display(
            tables=(Table("what it costs: speed", columns),), charts=(Chart("cost-over-the-video", "cost"),), order=40
        )

    def scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        return scored(samples, _rates)


def _rates(curves: Mapping[str, pd.Series]) -> dict[str, Score]:
    drawn, steady, pixels = curves["chunk_seconds"], curves["steady_from"].iloc[0], curves["pixel_frames"].iloc[0]
    frames = int(drawn.index.max())
    late = drawn.index > steady
    # In the steady state, a latent frame is as many pixel frames as every latent frame but the first.
    before = drawn.index[~late].max() if (~late).any() else 0
    shown = (frames - before) * (pixels - 1) / (frames - 1)
    found: dict[str, Score] = {
        "dit_fps": shown / drawn[late].sum(),
        "wall_fps": pixels / curves["whole_seconds"].iloc[0],
        "start_seconds": curves["start_seconds"].iloc[0],
        "chunk_seconds": {
            horizon: drawn[(drawn.index > LATE * horizon) & (drawn.index <= horizon)].mean()
            for horizon in horizons(frames)
        },
    }
    if "decode_seconds" in curves:
        decoded = curves["decode_seconds"][late]
        beside = curves.get("stream_seconds")
        seconds = drawn[late].sum() + decoded.sum() if beside is None else beside[beside.index > steady].sum()
        found |= {"stream_fps": shown / seconds, "decode_seconds": decoded.mean()}
    return found
