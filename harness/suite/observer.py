"""What sees the chunks of a rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from harness.suite.task import Sample

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where an observer may write files that belong to its cell, and what they are about.

    Parameters
    ----------
    folder
        Need not be there yet; what is in it at the end becomes the cell's `files`.
    about
        Cell, strategy, knobs.
    lossless
        Whether videos are also wanted without loss.
    """

    folder: Path
    about: Mapping[str, Any]
    lossless: bool = False


class Onlooker(Protocol):
    """Sees the pictures of one film made elsewhere, in order, each once."""

    ends: Sequence[int]
    """Latent frames at which its windows end, rising; no block of pictures crosses one."""

    def see(self, pictures: Tensor, start: int, stop: int, border: bool) -> None:
        """Take in a block of pictures.

        Parameters
        ----------
        pictures
            [1, T, 3, H, W] in 0..1.
        start, stop
            Latent frames at which they begin and end, rounded down.
        border
            Whether a chunk begins with them.
        """

    def samples(self) -> list[Sample]:
        """Return all that was measured, once the film is over.

        Returns
        -------
        list of Sample
            In any order.
        """

    def pictures(self) -> Mapping[str, Any]:
        """Return a few pictures for filmstrips.

        Returns
        -------
        mapping
            Arrays by name.
        """


class Observer(Protocol):
    """Sees the chunks of one task, in order, each once."""

    def see(self, latents: Tensor, start: int) -> None:
        """Take in a chunk.

        Parameters
        ----------
        latents
            [B, frames, C, H, W]; given frames come first.
        start
            The latent frame at which they begin.
        """

    def samples(self) -> list[Sample]:
        """Return all that was measured, once the rollouts are over.

        Returns
        -------
        list of Sample
            In any order.
        """

    def pictures(self) -> Mapping[str, Any]:
        """Return a few pictures for filmstrips, and what the suite's own plots read.

        Returns
        -------
        mapping
            Arrays by name.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on after a crash.

        Returns
        -------
        dict
            Nested dicts and lists of tensors and numbers.
        """

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Parameters
        ----------
        state
            What `state_dict` returned.
        """
