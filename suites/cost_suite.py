"""Shared parts of the cost suites: one timed rollout, its tasks and its scores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.errors import MeasurementError, NotFiniteError
from harness.films.decoding import Decoding
from harness.measure.meter import Stopwatch
from harness.memory import Boundary, Memory, Strategy
from harness.memory.proxy import watched
from harness.rollout import EncodedCue, encoded, rollout
from harness.rollout.chunk import Chunk
from harness.rollout.noise import PairedNoise
from harness.rollout.task_rollout import cues_of
from harness.suite import HORIZONS, Row, Task, rollout_seeds
from harness.training.rollout_clips import example_prompts

if TYPE_CHECKING:
    import pandas as pd

Score = float | Mapping[int, float]

REPEATS = 5
FROZEN = 1e-4
"""Share of the latents' spread below which the difference of two consecutive chunks means a frozen video."""


@dataclass
class Timing:
    """Times of each chunk: the latent frame at which it ends, seconds of the DiT (the commit pass of the previous chunk
    and its own denoising passes), and seconds of the decoder."""

    ends: list[int] = field(default_factory=list)
    drawn: list[float] = field(default_factory=list)
    decoded: list[float] = field(default_factory=list)
    before: float = 0.0
    """Seconds from the request to the first pass, for encoding the prompt and opening the memory."""


def timed(
    backbone: Backbone,
    strategy: Strategy,
    task: Task,
    *,
    watch: Callable[[Memory], Memory] | None = None,
    each: Callable[[int], None] = lambda end: None,
    between_chunks: Callable[[], None] | None = None,
) -> Timing:
    """Run the rollout of a task with time marks around its chunks, and without any other work in between.

    Chunks are decoded as they are generated, where the backbone has a codec. watch: wraps the memory. each: called with
    the latent frame at which a chunk ended, before the next begins. between_chunks: called after that, outside of the
    timed parts, as `CostSuite.measure` receives it.
    Raises NotFiniteError and MeasurementError where the result is not a video, since its speed has no meaning then.
    """
    clock, timing = Stopwatch(backbone.model.device), Timing()
    decoder = backbone.codec.decoder() if backbone.codec is not None else None
    clock.mark()
    chunks = _chunks(backbone, watched(strategy, watch) if watch else strategy, task)
    clock.mark()
    latest: deque[Tensor] = deque(maxlen=2)
    pictures: Tensor | None = None
    for chunk in chunks:
        clock.mark()
        if decoder is not None:
            pictures = decoder(chunk.latents)
        clock.mark()
        timing.ends.append(chunk.start + chunk.latents.shape[1])
        latest.append(chunk.latents)
        each(timing.ends[-1])
        if between_chunks is not None:
            between_chunks()
        clock.mark()
    seconds = clock.seconds()
    timing.before = seconds[0]
    timing.drawn, timing.decoded = seconds[1::3], seconds[2::3]
    _check(*latest)
    if pictures is not None and not bool(pictures.isfinite().all()):
        raise NotFiniteError("pictures are not finite")
    return timing


def streamed(backbone: Backbone, strategy: Strategy, task: Task) -> list[tuple[int, float]]:
    """Run the rollout of a task with a decoder that, on CUDA, runs beside the passes of the next chunk.

    Returns
    -------
    list of (int, float)
        Of every chunk but the first: the latent frame at which it ends, and the seconds from the pictures of the chunk
        before to its own.
    """
    assert backbone.codec is not None
    device = backbone.model.device
    clock, decoding, ends = Stopwatch(device), Decoding(backbone.codec.decoder(), device), []
    for chunk in _chunks(backbone, strategy, task):
        decoding.start(chunk.latents)
        # On the decoder's stream, where there is one.
        with torch.cuda.stream(decoding.stream):
            clock.mark()
        ends.append(chunk.start + chunk.latents.shape[1])
    return list(zip(ends[1:], clock.seconds(), strict=True))


def _chunks(backbone: Backbone, strategy: Strategy, task: Task) -> Iterator[Chunk]:
    """Return the rollout of a task's only row."""
    (row,) = task.rows
    first, *later = _said(backbone, row, task.boundaries)
    return rollout(
        backbone,
        strategy,
        prompts=first.embeddings,
        latent_frames=task.frames,
        latent_size=backbone.latent_size,
        noise=PairedNoise([(row.seed, row.script[0][1])]),
        switches=later,
        texts=first.texts,
        encode=backbone.text,
    )


def _said(backbone: Backbone, row: Row, boundaries: Sequence[Boundary]) -> list[EncodedCue]:
    """Return the cues of a row; a backbone without a text encoder gets random embeddings."""
    # A script that was shortened for a warm-up keeps the boundaries of its whole task.
    cues = cues_of(row.script, boundaries[: len(row.script)])
    if backbone.text is not None:
        return encoded([cues], backbone.text)
    return [
        EncodedCue(cue.start, example_prompts(backbone, [row.seed + number]), cue.boundary, [cue.text])
        for number, cue in enumerate(cues)
    ]


def _check(before: Tensor, last: Tensor) -> None:
    """Raise an error for an invalid video. The last two chunks suffice, because errors persist from chunk to chunk."""
    if not bool(last.isfinite().all()):
        raise NotFiniteError("latents are not finite")
    if float((last - before[:, -last.shape[1] :]).abs().max()) <= FROZEN * float(last.float().std()):
        raise MeasurementError("what was drawn is frozen: every chunk is the same, whatever its noise")


def settled(backbone: Backbone, strategy: Strategy, frames: int) -> int:
    """Return the latent frames after which a memory is replaced twice; half of the video if it keeps everything."""
    capacity = strategy.open(strategy.adapt(backbone).memory_spec()).capacity
    return frames // 2 if capacity is None else min(2 * capacity + backbone.chunk, frames // 2)


def script(backbone: Backbone, starts: Sequence[int] = (0,)) -> tuple[tuple[int, str], ...]:
    """Return a script of the backbone's own prompts in turn, at these latent frames; empty texts for a bare model."""
    texts = backbone.prompts or [""]
    return tuple((start, texts[number % len(texts)]) for number, start in enumerate(starts))


def repeats(frames: int, script: Sequence[tuple[int, str]], scenario: str, count: int, seed: int) -> list[Task]:
    """Return a task for each repeat; the seed distinguishes them."""
    smooth: Boundary = "smooth"
    boundaries = (smooth,) * len(script)
    return [Task(scenario, frames, 0, (Row(each, tuple(script)),), boundaries) for each in rollout_seeds(seed, count)]


def scored(samples: pd.DataFrame, score: Callable[[Mapping[str, pd.Series]], Mapping[str, Score]]) -> pd.DataFrame:
    """Return a cost suite's scores of its samples. `score` receives a rollout's values of each metric by latent frame,
    and returns scores of the whole video, or by horizon."""
    import pandas as pd

    measured = ("metric", "unit", "better", "at_frame", "value")
    keys = [name for name in samples.columns if name not in measured]
    cells = samples.groupby(keys, observed=True, dropna=False).ngroup().to_numpy()
    names, metrics = pd.factorize(samples["metric"])
    # Sorting and splitting where the cell or the metric changes is much faster than grouping cell by cell.
    order = np.lexsort((names, cells))
    cuts = np.flatnonzero(np.diff(cells[order]) | np.diff(names[order])) + 1
    frames, values = samples["at_frame"].to_numpy(), samples["value"].to_numpy(float)
    curves: dict[int, dict[str, pd.Series]] = {}
    for part in np.split(order, cuts) if len(order) else ():
        index = pd.Index(frames[part], name="at_frame")
        found = pd.Series(values[part], index=index, name="value")
        curves.setdefault(int(cells[part[0]]), {})[str(metrics[names[part[0]]])] = found
    _, first = np.unique(cells, return_index=True)
    rows = []
    for about, cell in zip(samples.iloc[first][keys].to_dict("records"), cells[first], strict=True):
        frames_in_all = about["horizon_latent_frames"]
        rate = about["horizon_seconds"] / frames_in_all
        for metric, found_scores in score(curves[int(cell)]).items():
            by_horizon = found_scores if isinstance(found_scores, Mapping) else {frames_in_all: found_scores}
            for horizon, value in by_horizon.items():
                length = {"horizon_latent_frames": horizon, "horizon_seconds": horizon * rate, "at_frame": horizon}
                rows.append({**about, **length, "metric": metric, "value": value})
    return pd.DataFrame(rows).reindex(columns=samples.columns)


def horizons(frames: int) -> list[int]:
    """Return the standard horizons within a video, and its whole length."""
    return sorted({*(horizon for horizon in HORIZONS if horizon <= frames), frames})
