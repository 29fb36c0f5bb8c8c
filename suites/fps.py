"""Speed: how many pixel frames a second, by three definitions, and how long a chunk takes as the video goes on.

Each repeat is a process of its own that draws one video, alone on the machine. Rates are taken from when the memory has
been replaced twice; of a memory that keeps everything, from the middle of the video.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.backbone.presets import Backbone
from harness.memory import Strategy
from harness.suite import CostSuite, Metric, Sample, Task
from suites.clocked import REPEATS, repeats, settled, timed
from suites.drift import HORIZONS

if TYPE_CHECKING:
    import pandas as pd

FRAMES = {"quick": 240, "full": 960, "long": 14_400}
LATE = 0.85
"""A curve's value at a horizon is the mean of what lies behind this part of it."""


class Fps(CostSuite):
    """Pixel frames a second of the DiT, of the whole stream, and from nothing to the last picture."""

    name = "fps"
    version = "1"
    tiers = tuple(FRAMES)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {
            "dit_fps": Metric("frames/s", "higher", "pixel frames a second of the DiT alone, in the steady state", 0),
            "stream_fps": Metric("frames/s", "higher", "the same with every chunk decoded as it comes", 0),
            "wall_fps": Metric("frames/s", "higher", "pixel frames by the seconds from a process's start to its end", 0),
            "chunk_seconds": Metric("s", "lower", "of the DiT: denoising, and the commit pass of the chunk before"),
            "decode_seconds": Metric("s", "lower", "of the decoder, a chunk"),
            "start_seconds": Metric("s", "lower", "from a process's start to the first pass: imports, weights, prompt"),
            "whole_seconds": Metric("s", "lower", "from a process's start to the last picture"),
            "steady_from": Metric("latent frames", "neither", "frames before the steady state"),
            "pixel_frames": Metric("frames", "neither", "of the whole video"),
        }  # fmt: skip

    def tasks(self, backbone: Backbone, tier: str, seed: int = 0) -> list[Task]:
        text = backbone.prompts[0] if backbone.prompts else ""
        return repeats(FRAMES[tier], ((0, text),), "stream", REPEATS, seed)

    def measure(self, backbone: Backbone, strategy: Strategy, task: Task, began: float) -> list[Sample]:
        started = time.time() - began
        timing = timed(backbone, strategy, task)
        samples = [Sample(0, "chunk_seconds", *each) for each in zip(timing.ends, timing.drawn, strict=True)]
        if backbone.codec is not None:
            samples += [Sample(0, "decode_seconds", *each) for each in zip(timing.ends, timing.decoded, strict=True)]
        whole = started + timing.before + sum(timing.drawn) + sum(timing.decoded)
        return [
            *samples,
            Sample(0, "start_seconds", timing.ends[0], started + timing.before),
            Sample(0, "whole_seconds", task.frames, whole),
            Sample(0, "steady_from", task.frames, settled(backbone, strategy, task.frames)),
            Sample(0, "pixel_frames", task.frames, backbone.pixel_frames(task.frames)),
        ]

    def scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        keys = [name for name in samples.columns if name not in ("metric", "at_frame", "value")]
        scored = []
        for key, part in samples.groupby(keys, observed=True, dropna=False):
            about = dict(zip(keys, key, strict=True))
            curves = {name: each.set_index("at_frame")["value"] for name, each in part.groupby("metric")}
            frames, pixels = about["horizon_latent_frames"], curves["pixel_frames"].iloc[0]
            rate = about["horizon_seconds"] / frames
            drawn, steady = curves["chunk_seconds"], curves["steady_from"].iloc[0]
            late = drawn.index > steady
            # Steadily, a latent frame is as many pixel frames as those of all but the first.
            a_frame = (pixels - 1) / (frames - 1)
            shown = a_frame * (drawn.index.max() - drawn.index[~late].max() if (~late).any() else frames)
            found = {
                "dit_fps": shown / drawn[late].sum(),
                "wall_fps": pixels / curves["whole_seconds"].iloc[0],
                "start_seconds": curves["start_seconds"].iloc[0],
            }
            if "decode_seconds" in curves:
                decoded = curves["decode_seconds"]
                found["stream_fps"] = shown / (drawn[late].sum() + decoded[late].sum())
                found["decode_seconds"] = decoded[late].mean()
            rows = [{**about, "metric": name, "at_frame": frames, "value": value} for name, value in found.items()]
            for horizon in sorted({*(h for h in HORIZONS if h <= frames), frames}):
                here = drawn[(drawn.index > LATE * horizon) & (drawn.index <= horizon)]
                length = {"horizon_latent_frames": horizon, "horizon_seconds": horizon * rate, "at_frame": horizon}
                rows.append({**about, **length, "metric": "chunk_seconds", "value": here.mean()})
            scored += rows
        return pd.DataFrame(scored)[list(samples.columns)]
