"""What a layout caches of latent frames, and how that becomes something to attend to.

Shapes: B batch rows, S tokens of a latent frame, N tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from harness.errors import KnobError

Axis = Literal["channel", "token"]
"""Which numbers of a packed frame share a scale: each channel over all tokens, or each token over all channels."""


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return the data type for sums and products whose rounding matters: float32, or float64 where that is given."""
    return torch.promote_types(dtype, torch.float32)


class Entries:
    """What a layout caches for some whole latent frames of one layer: tensors [B, frames, S, ...], un-rotated.

    A dense layout has two, key and value; a policy may slice, copy, average and scale them without knowing which.

    Parameters
    ----------
    *tensors
        As many as the layout has.
    """

    __slots__ = ("tensors",)

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    @property
    def frames(self) -> int:
        """Latent frames."""
        return self.tensors[0].shape[1]

    @property
    def stored(self) -> tuple[Tensor, ...]:
        """Tensors [B, frames, ...] that these entries keep alive: of packed ones, what they are packed into."""
        return self.tensors

    def __getitem__(self, frames: slice) -> Entries:
        """Return a view of some frames."""
        return self.map(lambda x: x[:, frames])

    def map(self, function: Callable[[Tensor], Tensor]) -> Entries:
        """Return entries made of a function of each tensor.

        Parameters
        ----------
        function
            From a tensor [B, frames, S, ...] to another.

        Returns
        -------
        Entries
            As many tensors as before.
        """
        return Entries(*(function(x) for x in self.tensors))

    def by_frame(self, function: Callable[[Tensor], Tensor]) -> Entries:
        """Return entries made of a function of each stored tensor; packed entries stay packed.

        Parameters
        ----------
        function
            From a tensor [B, frames, ...] to another, of other rows and frames or on another device. What follows these
            two axes differs between exact and packed entries.

        Returns
        -------
        Entries
            In the same form.
        """
        return self.map(function)

    def copy(self) -> Entries:
        """Return an owned copy in the same form, for a memory that keeps what it was lent.

        Returns
        -------
        Entries
            Contiguous, however many frames came at once: compiled passes are made for one form.
        """
        return self.by_frame(lambda x: x.clone(memory_format=torch.contiguous_format))

    def state(self) -> Any:
        """Return what `harness.memory.packed.restored` makes these entries of again.

        Returns
        -------
        list or dict
            Structure of tensors and names.
        """
        return list(self.tensors)

    def mix(self, other: Entries, share: float | Tensor) -> Entries:
        """Return a share of other entries and the rest of these.

        Parameters
        ----------
        other
            Entries of the same shape.
        share
            One number, or one a token, [B, 1, S].

        Returns
        -------
        Entries
            `share * other + (1 - share) * self`.
        """

        def mixed(x: Tensor, y: Tensor) -> Tensor:
            part = share.reshape(*share.shape, *[1] * (x.ndim - share.ndim)) if isinstance(share, Tensor) else share
            return part * y + (1 - part) * x

        return Entries(*map(mixed, self.tensors, other.tensors))

    @staticmethod
    def cat(parts: Sequence[Entries]) -> Entries:
        """Return the frames of all parts, in order.

        Parameters
        ----------
        parts
            Entries of one layout.

        Returns
        -------
        Entries
            All frames of the parts; packed parts stay packed.
        """
        of_subclass = (part for part in parts if type(part).joined is not Entries.joined)
        return next(of_subclass, parts[0]).joined(parts)

    def joined(self, parts: Sequence[Entries]) -> Entries:
        """Return the same as `cat`, which asks the first part whose class has a form of its own.

        Parameters
        ----------
        parts
            Entries of one layout, in any form.

        Returns
        -------
        Entries
            All frames of the parts.
        """
        return Entries(*(torch.cat(tensors, 1) for tensors in zip(*(part.tensors for part in parts), strict=True)))


class Layout(ABC):
    """What a layer caches for a token, and how that becomes something to attend to.

    Attributes
    ----------
    shapes : tuple of tuple of int
        Trailing shapes of the cached tensors, one token of one layer.
    axes : tuple of Axis
        Along which axis each of these tensors is quantised; empty where the layout cannot be packed.
    """

    shapes: tuple[tuple[int, ...], ...]
    axes: tuple[Axis, ...] = ()

    @property
    def scalars(self) -> int:
        """Cached scalars a token a layer."""
        return sum(torch.Size(shape).numel() for shape in self.shapes)

    @abstractmethod
    def ready(self, tokens: tuple[Tensor, ...], rotation: Tensor, weights: Tensor | None) -> tuple[Tensor, ...]:
        """Return un-rotated tokens as attention reads them.

        Parameters
        ----------
        tokens
            Cached tensors [B, N, ...].
        rotation
            Rotation of the keys.
        weights
            Weights by which keys and values are then scaled, [B, N]; None for none.

        Returns
        -------
        tuple of Tensor
            What the attention of this layout takes.
        """

    @abstractmethod
    def keys(self, entries: Entries) -> Tensor:
        """Return un-rotated keys, for policies that compare or score entries.

        Parameters
        ----------
        entries
            Entries of whole frames.

        Returns
        -------
        Tensor
            [B, frames, S, heads, channels].
        """

    def one_head(self) -> tuple[int, Layout]:
        """Return how many heads there are, and the layout of the entries of a single one, for contexts by head.

        Entries of a layout that has it are [B, frames, S, heads, ...] in all their tensors.

        Returns
        -------
        int
            Heads of a layer.
        Layout
            Layout in which a token has one head.

        Raises
        ------
        KnobError
            By default, for a layout that does not hold its heads apart.
        """
        raise KnobError(
            f"{type(self).__name__} does not hold the keys of each head apart, so contexts cannot differ by head; "
            "choose another policy for that layout"
        )

    def rotated(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return keys or queries rotated to where their tokens stand, for policies that score keys against queries.

        Products of a rotated query and a rotated key are what attention computes before its scale, so a layout whose
        queries do not meet the keys of `keys` refuses; it does so also for no tokens at all.

        Parameters
        ----------
        x
            Un-rotated keys, as `keys` gives them, or queries, [B, N, heads, channels].
        positions
            (time, row, column) of each token, [B or 1, N, 3].

        Returns
        -------
        Tensor
            [B, N, heads, channels], in float32 at least.

        Raises
        ------
        KnobError
            By default, for a layout that does not hold whole keys.
        """
        raise KnobError(
            f"{type(self).__name__} does not hold the keys that queries meet, so tokens cannot be scored against "
            "queries; choose another policy for that layout"
        )
