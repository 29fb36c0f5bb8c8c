"""What a layout caches of latent frames, and how that becomes something to attend to.

Shapes: B batch rows, S tokens of a latent frame, N tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Entries:
    """What a layout caches for some whole latent frames of one layer: tensors [B, frames, S, ...], un-rotated.

    A dense layout has two, key and value; a policy may slice, copy, average and scale them without knowing which.
    """

    __slots__ = ("tensors",)

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    @property
    def frames(self) -> int:
        return self.tensors[0].shape[1]

    def __getitem__(self, frames: slice) -> Entries:
        """A view of some frames."""
        return self.map(lambda x: x[:, frames])

    def map(self, function: Callable[[Tensor], Tensor]) -> Entries:
        """Entries made of `function` of each tensor."""
        return Entries(*(function(x) for x in self.tensors))

    def mix(self, other: Entries, share: float | Tensor) -> Entries:
        """`share` of `other` and the rest of these. share: one number, or one a token, [B, 1, S]."""

        def mixed(x: Tensor, y: Tensor) -> Tensor:
            part = share.reshape(*share.shape, *[1] * (x.ndim - share.ndim)) if isinstance(share, Tensor) else share
            return part * y + (1 - part) * x

        return Entries(*map(mixed, self.tensors, other.tensors))

    @staticmethod
    def cat(parts: Sequence[Entries]) -> Entries:
        """The frames of all parts, in order."""
        return Entries(*(torch.cat(tensors, 1) for tensors in zip(*(part.tensors for part in parts), strict=True)))


class Layout(ABC):
    """What a layer caches for a token, and how that becomes something to attend to."""

    shapes: tuple[tuple[int, ...], ...]
    """Trailing shapes of the cached tensors, one token of one layer."""

    @property
    def scalars(self) -> int:
        """Cached scalars a token a layer."""
        return sum(torch.Size(shape).numel() for shape in self.shapes)

    @abstractmethod
    def ready(self, tokens: tuple[Tensor, ...], rotation: Tensor, weights: Tensor | None) -> tuple[Tensor, ...]:
        """Un-rotated tokens [B, N, ...] as attention reads them: keys turned by `rotation`, then keys and values
        scaled by `weights` [B, N]."""

    @abstractmethod
    def keys(self, entries: Entries) -> Tensor:
        """Un-rotated keys [B, frames, S, heads, channels] for policies that compare or score entries."""
