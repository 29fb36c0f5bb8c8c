"""The part of a chunk's truth that its prompt and the frames in its context determine.

A memory that dropped all frames with the object's new colour does not hold that colour, and a model that is trained to
draw it nevertheless learns to guess. So the loss of a chunk counts only what its prompt states or what a visible frame
shows: an attribute is known from a frame of the same version, the object's place from two frames of the same swing.
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
    """Facts about the clips of one training step that decide what their chunks can know.

    Parameters
    ----------
    looks, versions
        Value of every attribute in every frame, and the scene that set it, int64 [B, F, 8].
    swings
        Frame at which the swing that a frame shows began, [B, F].
    settled
        Whether a frame shows its scene only, without a fade or a curtain, bool [B, F].
    said
        Attributes that the prompt of a chunk states, bool [B, chunks, 8].
    free
        Chunks that need no memory (an opening, a cut, a closed curtain), bool [B, chunks].
    back
        Chunks whose scene is a return, bool [B, chunks].
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
        """Return the facts about clips, which their scripts and seeds determine. opens: chunks that open, bool [B,
        chunks]."""
        rows = [_row(scenes, seed, frames, chunk) for scenes, seed in zip(scripts, seeds, strict=True)]
        looks, versions, swings, settled, said, down, back = (
            torch.from_numpy(np.stack(parts)) for parts in zip(*rows, strict=True)
        )
        return cls(looks, versions, swings, settled, said, opens | down, back)

    def known(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return the attributes that each chunk can know, bool [B, chunks, 8], and whether it can know the place.

        Parameters
        ----------
        times
            Temporal id, relative to the chunk, of every frame of the clip in the chunk's context, [B, chunks, F]; NaN
            for frames that are not in it.

        Returns
        -------
        attributes, place
            bool [B, chunks, 8] and [B, chunks].
        """
        chunk = self.looks.shape[1] // self.said.shape[1]
        seen = ~times.isnan()
        last = slice(chunk - 1, None, chunk)
        shows = (seen & self.settled[:, None])[..., None]
        right = shows & (self.versions[:, None] == self.versions[:, last, None])
        wrong = shows & (self.looks[:, None] != self.looks[:, last, None])
        at = times.nan_to_num(-torch.inf)[..., None]
        latest, latest_wrong = (at.masked_fill(~x, -torch.inf).amax(2) for x in (right, wrong))
        # Of two visible values the later one is valid, except in a scene that comes back.
        shown = right.any(2) & ((latest > latest_wrong) | self.back[..., None])
        attributes = self.said | shown | self.free[..., None]
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
    """Return the weights of the loss, 0 or 1, for the cells x cells places of every frame, [B, F, 1, cells, cells].

    The surroundings of the object count where all attributes of the object and of the scenery are known. The rest of
    the picture counts where the scenery, the place, the size and the motion are known, since the object may otherwise
    be anywhere. A curtain always counts.
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
