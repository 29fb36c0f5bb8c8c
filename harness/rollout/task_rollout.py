"""From a task of a suite to its rollouts: every row's own noise, and all prompts and scenes of the task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from harness.backbone.presets import Backbone
from harness.memory import Boundary, Strategy
from harness.memory.proxy import watched
from harness.rollout.chunk import Chunk
from harness.rollout.loop import rollout
from harness.rollout.noise import PairedNoise
from harness.rollout.script import Cue, encoded
from harness.rollout.switch_meter import SwitchMeter
from harness.suite import Task


def cues_of(script: Sequence[tuple[int, str]], boundaries: Sequence[Boundary]) -> tuple[Cue, ...]:
    """Return the cues of a row, which keeps its script and the boundaries of its task apart.

    Raises ValueError where there are not as many boundaries as scenes.
    """
    return tuple(Cue(start, text, boundary) for (start, text), boundary in zip(script, boundaries, strict=True))


def rollout_of(
    backbone: Backbone,
    strategy: Strategy,
    task: Task,
    *,
    given: Tensor | None = None,
    resume: dict[str, Any] | None = None,
    switches: list[dict[str, float]] | None = None,
) -> Iterator[Chunk]:
    """Roll a task out, all its rows in one batch.

    Parameters
    ----------
    given: clean latents [B, F, C, H, W]: the beginning of the videos, or all of them for a task that is forced.
    resume: `Chunk.state()` of the same task, to go on from.
    switches: gets a note for every prompt switch: what the memory did at it, and how long it took.
    """
    assert backbone.text is not None
    first, *later = encoded([cues_of(row.script, task.boundaries) for row in task.rows], backbone.text)
    if later and switches is not None:
        strategy = watched(strategy, partial(SwitchMeter, notes=switches))
    return rollout(
        backbone,
        strategy,
        prompts=first.embeddings,
        latent_frames=task.frames,
        latent_size=backbone.latent_size,
        noise=PairedNoise([(row.seed, row.script[0][1]) for row in task.rows]),
        switches=later,
        initial=None if task.forced else given,
        forced=given if task.forced else None,
        texts=first.texts,
        encode=backbone.text,
        resume=resume,
    )
