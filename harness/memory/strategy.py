"""What a memory is opened from: a strategy, the frozen record of its knobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, cast

from harness.errors import BudgetError
from harness.memory.budget import fitted
from harness.memory.knobs import check_knobs, recorded

if TYPE_CHECKING:
    from harness.backbone.presets import Backbone
from harness.memory.seam import Memory
from harness.memory.terms import MemorySpec, Weights


@dataclass(frozen=True, kw_only=True)
class Strategy(ABC):
    """A way to remember: a frozen dataclass of knobs, so that its repr is a complete record of what ran.

    Values are checked against the annotations when it is made, so a wrong knob cannot wait for the first chunk.

    Attributes
    ----------
    paper : str
        Where it is from, as a link.
    reads_query : bool
        Whether recall and remember are given the query (then passes are compiled a layer at a time).
    by_heads : bool
        Whether some frames are held for some heads only.
    reads_commit_query : bool
        Whether remember alone is given the query (this costs nothing).
    footprint_is_most : bool
        Whether `footprint` is the most that may be held, because what is kept depends on the video; else it is exact.
    bounded : bool
        Whether the memory stays the same size however long the video, an archive on the host aside.

    Raises
    ------
    KnobError
        For a value that its annotation does not allow.
    """

    paper: ClassVar[str]
    reads_query: ClassVar[bool] = False
    reads_commit_query: ClassVar[bool] = False
    by_heads: ClassVar[bool] = False
    footprint_is_most: ClassVar[bool] = False
    bounded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_knobs(self)

    @property
    def starts_as_full(self) -> bool:
        """Whether it attends to all past frames and nothing else until it first evicts."""
        return True

    def adapt(self, backbone: Backbone) -> Backbone:
        """Return the backbone on which this strategy runs: the same one, or a twin with layers of its own.

        Asked for by every rollout, so a twin is kept as long as the backbone; the backbone itself is never changed.

        Parameters
        ----------
        backbone
            The one that was asked for.

        Returns
        -------
        Backbone
            The same backbone by default.
        """
        return backbone

    def weights(self, backbone: Backbone) -> Weights | None:
        """Return where parameters of its own come from on a backbone.

        Parameters
        ----------
        backbone
            The one that was asked for.

        Returns
        -------
        Weights or None
            None for a strategy without any.
        """
        return None

    @abstractmethod
    def open(self, spec: MemorySpec) -> Memory:
        """Return a fresh memory for one rollout.

        Parameters
        ----------
        spec
            Spec of the adapted backbone.

        Returns
        -------
        Memory
            One that shares nothing with others.

        Raises
        ------
        KnobError
            Where the knobs do not fit `spec`.
        """

    @abstractmethod
    def footprint(self, spec: MemorySpec, frames: int) -> int:
        """Return the bytes that the memory holds on its device, on paper.

        Parameters
        ----------
        spec
            Spec of the adapted backbone.
        frames
            Latent frames that were committed.

        Returns
        -------
        int
            Bytes of all layers and rows.
        """

    def period(self, spec: MemorySpec) -> int:
        """Return the chunks after which the size of a full memory repeats, for one that evicts every few chunks.

        Parameters
        ----------
        spec
            Spec of the adapted backbone.

        Returns
        -------
        int
            1 by default: a full memory stays the same size.
        """
        return 1

    def archive_bytes(self, spec: MemorySpec, frames: int) -> int:
        """Return the bytes that the memory has archived in host memory, beyond `footprint`, as planned.

        Parameters
        ----------
        spec
            Spec of the adapted backbone.
        frames
            Latent frames that were committed.

        Returns
        -------
        int
            Bytes of all layers and rows; they may grow with the video. 0 by default.
        """
        return 0

    def scene_bytes(self, spec: MemorySpec) -> int:
        """Return the bytes that are kept of every scene that a prompt switch ends, beyond `footprint`, on paper.

        Parameters
        ----------
        spec
            Spec of the adapted backbone.

        Returns
        -------
        int
            0 by default.
        """
        return 0

    def at_budget(self, spec: MemorySpec, budget: int) -> Strategy:
        """Return this method at other bytes: the same knobs, but for the parts that grow or shrink.

        The default takes the size of `resized` at which the bytes come nearest to the budget.

        Parameters
        ----------
        spec
            Spec of the adapted backbone; no context becomes longer than its `trained_frames`.
        budget
            Bytes, as `footprint` counts them for a full memory.

        Returns
        -------
        Strategy
            Strategy of the same class.

        Raises
        ------
        BudgetError
            Where the method cannot be had at so many bytes; the message is the reason.
        """
        resizable = type(self).resized is not Strategy.resized
        return cast(Strategy, fitted(self, spec, budget, resizable=resizable))

    def resized(self, spec: MemorySpec, frames: int) -> Strategy:
        """Return this method with a context of at most so many latent frames beside the chunk, and nothing left out.

        Parameters
        ----------
        spec
            Spec of the adapted backbone.
        frames
            Latent frames of the context.

        Returns
        -------
        Strategy
            Strategy of the same class.

        Raises
        ------
        BudgetError
            Below the smallest shape that is still the method. The default does not say what shrinks.
        """
        raise BudgetError(f"{type(self).__name__} does not say which of its parts grow or shrink")

    @property
    def kept_sink(self) -> int:
        """Latent frames of the beginning that the memory holds for good, whole and as they are: its knob `sink`.

        0 where it has none, and for a strategy whose sink is something else or is not held for all heads.
        """
        return 0 if self.by_heads else int(getattr(self, "sink", 0))

    def cached(self, spec: MemorySpec) -> MemorySpec:
        """Return the spec with the form in which this strategy keeps frames.

        Parameters
        ----------
        spec
            Spec of the adapted backbone.

        Returns
        -------
        MemorySpec
            The same spec by default; one with a `store` for a strategy that packs.
        """
        return spec

    def position_limit(self, spec: MemorySpec) -> int | None:
        """Return a number below which all temporal ids stay however long the video.

        Parameters
        ----------
        spec
            Spec of the adapted backbone.

        Returns
        -------
        int or None
            None where they grow with the video.
        """
        return None

    @property
    def switch_note(self) -> str:
        """What a prompt switch does that is not as published, in one line; empty where there is nothing to say."""
        return ""

    def parts(self) -> Mapping[str, Strategy]:
        """Return the strategies that this one is made of; a cell records their knobs and code.

        Returns
        -------
        mapping
            Strategies by the knob that names them.
        """
        return {}

    def knobs(self) -> dict[str, Any]:
        """Return the values of the knobs as they are typed and recorded: a strategy in a knob is a text.

        Returns
        -------
        dict
            By name.
        """
        return {knob.name: recorded(getattr(self, knob.name)) for knob in fields(self)}
