"""What a chunk can know of its own truth from the frames that its memory shows it.

A memory that dropped the only frames with the object's new colour cannot know that colour, and a model that is taught
it nevertheless learns to guess. So the loss of a chunk counts only what its prompt says or what some visible frame
shows: an attribute by a frame of the same version, and the object's place by two frames of the same swing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.pocket.scenes import Scene
from harness.pocket.world import NAMES, PIXELS, SIZES, Clip, direct, versions_of

OF_OBJECT = [NAMES.index(name) for name in ("shape", "colour", "size", "motion", "speed")]
OF_PLACE = [NAMES.index(name) for name in ("size", "motion", "speed")]
OF_SCENERY = [NAMES.index(name) for name in ("texture", "ground", "accent")]


@dataclass(frozen=True)
class Knowledge:
    """Of the clips of a lesson.

    looks, versions: value of every attribute a frame and which scene set it, int64 [B, F, 8]. swings: frame at which
    the swing that a frame shows began, [B, F]. settled: whether a frame shows its scene and nothing else, bool [B, F].
    said: what the prompt of a chunk says, bool [B, chunks, 8]. free: whether a chunk needs no memory (an opening, a
    cut, a curtain that is down), bool [B, chunks]. back: whether its scene is a return, bool [B, chunks].
    """

    looks: Tensor
    versions: Tensor
    swings: Tensor
    settled: Tensor
    said: Tensor
    free: Tensor
    back: Tensor

    @classmethod
    def of(
        cls, scripts: Sequence[Sequence[Scene]], seeds: Sequence[int], frames: int, chunk: int, opens: Tensor
    ) -> Knowledge:
        """Return what scripts and their seeds determine."""
        rows = [_row(scenes, seed, frames, chunk) for scenes, seed in zip(scripts, seeds, strict=True)]
        looks, versions, swings, settled, said, down, back = (
            torch.from_numpy(np.stack(parts)) for parts in zip(*rows, strict=True)
        )
        return cls(looks, versions, swings, settled, said, opens | down, back)

    def known(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return which attributes a chunk can know, bool [B, chunks, 8], and whether it can know the place [B, chunks].

        times: temporal id relative to the chunk at which it sees every frame of the clip, [B, chunks, F]; NaN for a
        frame that it does not see.
        """
        chunk = self.looks.shape[1] // self.said.shape[1]
        seen = ~times.isnan()
        last = slice(chunk - 1, None, chunk)
        shows = (seen & self.settled[:, None])[..., None]
        right = shows & (self.versions[:, None] == self.versions[:, last, None])
        wrong = shows & (self.looks[:, None] != self.looks[:, last, None])
        at = times.nan_to_num(-torch.inf)[..., None]
        latest, latest_wrong = (at.masked_fill(~x, -torch.inf).amax(2) for x in (right, wrong))
        # Of two values that are seen the later one holds, but for a scene that comes back.
        told = right.any(2) & ((latest > latest_wrong) | self.back[..., None])
        attributes = self.said | told | self.free[..., None]
        swings, start = self.swings[:, last], torch.arange(0, self.looks.shape[1], chunk)
        same = seen & (self.swings[:, None] == swings[..., None]) & (times >= -chunk)
        waits = (self.looks[:, last, NAMES.index("motion")] == 0) & attributes[..., NAMES.index("motion")]
        place = (swings == start) | (same.sum(2) >= 2) | waits | self.free
        return attributes, place


def _row(scenes: Sequence[Scene], seed: int, frames: int, chunk: int) -> tuple[np.ndarray, ...]:
    looks, _, fade, beats, cover = direct(scenes, seed, 0, frames)
    per_scene = versions_of(scenes, seed)
    starts = np.array([scene.start for scene in scenes])
    scene_at = np.searchsorted(starts, np.arange(frames), side="right") - 1
    versions = np.stack(per_scene)[scene_at]
    first = scene_at[::chunk]
    said = np.array([[name in scene.saying.said for name in NAMES] for scene in scenes])[first]
    kinds = np.array([scene.saying.kind == "recall" and not scene.saying.covered for scene in scenes])
    down = (cover == 1).reshape(-1, chunk).all(1)
    return looks, versions, np.arange(frames) - beats, (fade == 1) & (cover == 0), said, down, kinds[first]


def visible_weights(clip: Clip, cells: int, attributes: Tensor, place: Tensor) -> Tensor:
    """Return how much of the loss counts, 0 or 1, in each of a frame's cells x cells places, [B, F, 1, cells, cells].

    The object's surroundings count where all of the object and of the scenery is known, the rest where the scenery is;
    all depends on it where the place, the size or the motion is not known. A curtain always counts.
    """
    chunk = clip.looks.shape[1] // attributes.shape[1]
    size = PIXELS / cells
    axis = (torch.arange(cells) + 0.5) * size
    reach = max(SIZES) + size / 2
    across, down = ((axis - clip.places[..., which, None]).abs() < reach for which in (0, 1))
    near = down[..., :, None] & across[..., None, :]
    scenery = attributes[..., OF_SCENERY].all(-1)
    thing = attributes[..., OF_OBJECT].all(-1) & place & scenery
    placed = attributes[..., OF_PLACE].all(-1) & place
    whole, rest = (x.repeat_interleave(chunk, 1)[..., None, None] for x in (thing, scenery & placed))
    counts = torch.where(near, whole, rest)
    behind = axis[:, None] + size / 2 <= clip.cover[..., None, None] * PIXELS
    return (counts | behind).float()[:, :, None]
