"""A chunk as a rollout yields it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from harness.rollout.state import State


@dataclass(frozen=True)
class Chunk:
    """Finished latents of one chunk.

    Parameters
    ----------
    latents
        [B, frames, C, H, W].
    start
        Absolute id of the first frame.
    index
        Number among the generated chunks.
    _state
        Makes the state after it.
    """

    latents: Tensor
    start: int
    index: int
    _state: Callable[[], State]

    def state(self) -> State:
        """Return all that is needed to go on after this chunk, and commit the chunk first.

        Everything is copied, except for the memory's archive, which only grows: its tensors are the archive's own.

        Returns
        -------
        State
            torch.save writes it, and torch.load with weights_only reads it back.

        Raises
        ------
        ResumeError
            Once the rollout has gone on to a later chunk.
        """
        return self._state()
