"""The seam between a backbone and a memory: remember, recall, forget.

A `Strategy` is a frozen record of knobs. It opens one `Memory` for one rollout. Before a chunk is denoised every layer
*recalls* a `Context`, the past that this chunk may attend to; the commit pass, the clean one after the denoising
passes, gives every layer's new `Entries` to *remember*; a prompt switch lets the memory *forget*.

Shapes: B batch rows, S tokens of a latent frame; entries are [B, frames, S, ...], un-rotated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torch import Tensor

from harness.memory.entries import Entries
from harness.memory.terms import At, Context, PromptSwitch


class Memory(ABC):
    """What the layers may still see of the past, for one rollout.

    Attributes
    ----------
    lookback : int
        Clean latents that `forget` wants to see, in frames.
    capacity : int or None
        Frames of the largest context; contexts hold fewer at first. None where it grows with the video.
    """

    lookback: int = 0
    capacity: int | None

    @abstractmethod
    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        """Return what this chunk may attend to in a layer.

        Called in the first pass of a chunk of whatever kind, and in passes for which `stale` is true. May change the
        memory only in pass 0 or a stale pass.

        Parameters
        ----------
        layer
            Number of the layer, from 0.
        query
            The un-rotated query [B, N, heads, channels] for strategies that declare `reads_query`, else None.
        at
            Where in the rollout.

        Returns
        -------
        Context
            Frames by reference, their positions and weights.
        """

    @abstractmethod
    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        """Take in a commit pass, and evict what the next chunk cannot see.

        Parameters
        ----------
        layer
            Number of the layer; layers come once each, in rising order.
        entries
            Un-rotated entries [B, frames, S, ...], on loan: what is kept has to be copied.
        query
            As for `recall`.
        at
            Where in the rollout; its frames may exceed a chunk.
        """

    def forget(self, switch: PromptSwitch) -> None:
        """React to a prompt switch; the default keeps everything. Host synchronisation is allowed here only.

        Parameters
        ----------
        switch
            The prompts on both sides, and what is needed to replay the past under the new one.
        """
        return

    def stale(self, pass_index: int) -> bool:
        """Return whether a later pass of the chunk must recall again.

        Parameters
        ----------
        pass_index
            Number of the pass, from 0.

        Returns
        -------
        bool
            False by default: one recall a chunk.
        """
        return False

    @property
    def steady(self) -> Collection[int]:
        """Frames of the contexts of a full memory: `capacity`, or the few sizes that it goes through in turn.

        Passes are compiled where every layer's context has one of these sizes.
        """
        return () if self.capacity is None else (self.capacity,)

    @abstractmethod
    def held(self, layer: int) -> Mapping[int, Entries]:
        """Return the frames that are kept as they were.

        Parameters
        ----------
        layer
            Number of the layer.

        Returns
        -------
        mapping
            Entries of one frame each, by absolute frame id, by reference.
        """

    @abstractmethod
    def stored(self) -> Iterable[Tensor]:
        """Return every tensor that this memory keeps alive.

        Returns
        -------
        iterable of Tensor
            A tensor may come more than once.
        """

    def nbytes(self) -> int:
        """Return the bytes of the distinct storages behind `stored`; a view counts with all of what it pins.

        Returns
        -------
        int
            Bytes.
        """
        storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in self.stored()}
        return sum(storages.values())

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on at a chunk boundary.

        Returns
        -------
        dict
            Nested dicts and lists of tensors and numbers.
        """

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; tensors are taken over by reference.

        Parameters
        ----------
        state
            What `state_dict` returned.
        """
