"""The seam between a backbone and a memory: remember, recall, forget.

A `Strategy` is a frozen record of knobs. It opens one `Memory` for one rollout. Before a chunk is denoised every layer
*recalls* a `Context`, the past that this chunk may attend to; the commit pass, the clean one after the denoising
passes, gives every layer's new `Entries` to *remember*; a prompt switch lets the memory *forget*.

Order of the calls. At the start, and when a rollout is resumed (after `load_archive` and `load_state_dict`): `hear`. A
chunk: `hear` and `forget` if its prompt is new; `recall` of every layer before or in its first pass, and again in stale
passes. A commit pass: `begin_commit`, then `remember` of every layer, once each, from layer 0 to the last one. After
the commit pass of a chunk: `see`. A replay, which `forget` may ask for, consists of commit passes with a recall of
every layer, without `see`. Where a chunk has one pass only (initial latents, replays), its recalls come before its
`begin_commit`.

Shapes: B batch rows, S tokens of a latent frame; entries are [B, frames, S, ...], un-rotated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from harness.memory.entries import Entries
from harness.memory.heads import GroupedContext, HeldByHeads
from harness.memory.terms import At, Context, PromptSwitch


class Memory(ABC):
    """What the layers may still see of the past, for one rollout.

    Attributes
    ----------
    lookback : int
        Clean latents that `forget` wants to see, in frames.
    capacity : int or None
        Frames of the largest context, of any head; contexts hold fewer at first. None where it grows with the video.
    """

    lookback: int = 0
    capacity: int | None

    @abstractmethod
    def recall(self, layer: int, query: Tensor | None, at: At) -> Context | GroupedContext:
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
        Context or GroupedContext
            Frames by reference, their positions and weights: of all heads, or of groups of heads one by one.
        """

    def begin_commit(self, at: At) -> None:
        """Prepare for the entries of a commit pass; by default nothing.

        Called once a commit pass, replays included, after its recalls and before layer 0 is remembered: the place for
        what all layers share, such as which frames leave.

        Parameters
        ----------
        at
            Where in the rollout, as `remember` is told for every layer of this pass.
        """
        return

    @abstractmethod
    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        """Take in a commit pass, and evict what the next chunk cannot see.

        Parameters
        ----------
        layer
            Number of the layer; after `begin_commit` layers come once each, in rising order.
        entries
            Un-rotated entries [B, frames, S, ...], on loan: what is kept has to be copied.
        query
            As for `recall`; also for strategies that declare `reads_commit_query`.
        at
            Where in the rollout; its frames may exceed a chunk.
        """

    def forget(self, switch: PromptSwitch) -> None:
        """React to a prompt switch; the default keeps everything. Host synchronisation is allowed here, and in `see`.

        Parameters
        ----------
        switch
            The prompts on both sides, and what is needed to replay the past under the new one.
        """
        return

    def see(self, latents: Tensor, at: At) -> None:
        """Take in the clean latents of a chunk after its commit pass; by default nothing.

        For memories that describe or choose frames by what they show. Every latent frame of the video comes once, in
        rising order, initial latents included; replays are not shown, since the memory gave their latents itself.
        Host synchronisation is allowed here.

        Parameters
        ----------
        latents
            [B, frames, C, H, W], on loan: what is kept has to be copied.
        at
            Where in the rollout, as for the `remember` of this commit pass.
        """
        return

    def hear(self, prompt: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Take in the prompt that is active from now on; by default nothing.

        For memories that the text chooses. Called at the start, before each `forget`, and after `load_state_dict` with
        the prompt of the scene in which the state was taken; so the state need not hold any of it.

        Parameters
        ----------
        prompt
            Keys and values of the cross-attention of every layer, each [B, text_len, heads, channels], keys after their
            norm; padding is included, as the model attends to it. Never to be written to; what is kept of it counts as
            memory and is named by `stored`.
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

        Passes are compiled where every layer's context has one of these sizes, or differs by head.
        """
        return () if self.capacity is None else (self.capacity,)

    def held_by_heads(self, layer: int) -> Sequence[HeldByHeads]:
        """Return the frames that are kept as they were for some heads only; by default nothing.

        Parameters
        ----------
        layer
            Number of the layer.

        Returns
        -------
        sequence of HeldByHeads
            Frames by reference, one element for all that the same heads share; a frame may be in several.
        """
        return ()

    @abstractmethod
    def held(self, layer: int) -> Mapping[int, Entries]:
        """Return the frames that are kept as they were, with all heads.

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
        """Return every tensor that this memory keeps alive, those of its archive aside.

        Returns
        -------
        iterable of Tensor
            A tensor may come more than once.
        """

    def archived(self) -> Mapping[str, Tensor]:
        """Return what this memory has put away in the host's memory for good; by default nothing.

        For memories that retrieve from all that ever left. An archive only grows: at a chunk boundary each tensor is
        complete, and neither its place in the order nor its contents ever change. So a state refers to it instead of
        copying it, and it is written to disk once. It is named here only, not by `stored`.

        Returns
        -------
        mapping
            Tensors on the CPU by name, in the order in which they came.
        """
        return {}

    def load_archive(self, archive: Mapping[str, Tensor]) -> None:
        """Go on with an archive; called before `load_state_dict`.

        Parameters
        ----------
        archive
            What `archived` returned; tensors are taken over by reference and are not written to.
        """
        return

    def nbytes(self) -> int:
        """Return the bytes of the distinct storages behind `stored`; a view counts with all of what it pins.

        Returns
        -------
        int
            Bytes; those of the archive are not among them.
        """
        return storage_bytes(self.stored())

    def archive_nbytes(self) -> int:
        """Return the bytes of the distinct storages behind `archived`.

        Returns
        -------
        int
            Bytes.
        """
        return storage_bytes(self.archived().values())

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


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of the distinct storages behind tensors."""
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in tensors}
    return sum(storages.values())
