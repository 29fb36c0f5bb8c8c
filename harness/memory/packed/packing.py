"""Numbers in fewer bits: tensors of a layout, packed into integers or 8-bit floats with scales.

Numbers are quantised asymmetrically, as KIVI (arXiv:2402.02750) does: those of a group lie on `least + code * step`.
A group never spans rows, frames or heads: it is a channel over the tokens of a frame ("channel", for keys, some
channels of which are much larger than others), or a token over the channels of a head ("token", for values). fp8 is
symmetric: `step * code`, with e4m3 codes up to 448.

Both `least` and `step` are stored in bfloat16, whose range is that of float32, and in float16 for a float16 cache.
`least` is rounded down (of a bfloat16 cache it is exact, being one of the group's own numbers) and `step` up, so that
all numbers stay in range, and codes are found with what is stored. So a number is off by half a stored step at most,
and by the rounding of its own type; coarse scales cost a percent of the step, and halve what float32 ones would take.
A group with a number that is not finite becomes NaN as a whole, so that a broken rollout remains visible; within a
hundredth of the largest number of the data type a number may become infinite.

Shapes: B batch rows, S tokens of a latent frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from harness.errors import KnobError
from harness.memory.entries import Axis, Layout, at_least_float32

Store = Literal["int8", "int4", "fp8"]
"""In what a cache is packed: 8 or 4 bits asymmetrically, or float8 e4m3."""
LEVELS = {"int8": 255, "int4": 15}
"""The largest code of each integer form."""
FP8 = torch.float8_e4m3fn
LARGEST = 448.0
"""The largest number of e4m3."""


@dataclass(frozen=True)
class Packing:
    """How the frames of a layout are packed.

    Parameters
    ----------
    store
        In what.
    axes
        Along which axis each tensor of the layout is quantised.
    dtype
        Data type of the numbers before packing, and after unpacking.
    """

    store: Store
    axes: tuple[Axis, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, layout: Layout, store: Store, dtype: torch.dtype) -> Packing:
        """Return how a layout is packed.

        Raises
        ------
        KnobError
            For a layout that cannot be packed so.
        """
        name = type(layout).__name__
        if len(layout.axes) != len(layout.shapes):
            raise KnobError(f"{name} cannot be stored as {store}: its axes do not say how its tensors are quantised")
        for shape in layout.shapes:
            if store == "int4" and shape[-1] % 2:
                raise KnobError(
                    f"{name} cannot be stored as int4: two channels share a byte, and one of its tensors has "
                    f"{shape[-1]}; use int8 or fp8"
                )
        return cls(store, layout.axes, dtype)

    def __str__(self) -> str:
        """Return the name that saved states have: two packings with one name read each other's frames."""
        dtype, scales = (str(each).removeprefix("torch.") for each in (self.dtype, self.scales))
        return f"{self.store} of {dtype} by {' and '.join(self.axes)} with scales in {scales}"

    @property
    def scales(self) -> torch.dtype:
        """Data type of the scales."""
        return torch.float16 if self.dtype == torch.float16 else torch.bfloat16

    @property
    def each(self) -> int:
        """Stored tensors of each tensor of the layout: codes and step, and of integers the least number."""
        return 2 if self.store == "fp8" else 3

    def pack(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return what is stored of the tensors [B, frames, S, ...] of exact entries: codes and scales in turn."""
        made = zip(tensors, self.axes, strict=True)
        return tuple(part for x, axis in made for part in _packed(x.detach(), axis, self.store, self.scales))

    def unpack(self, stored: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the tensors of entries, made of what is stored of them."""
        each = self.each
        return tuple(_unpacked(stored[at : at + each], self.store, self.dtype) for at in range(0, len(stored), each))

    def bytes(self, shapes: Sequence[Sequence[int]], tokens: int, frames: int) -> int:
        """Return the bytes of packed tokens of one row in one layer.

        Parameters
        ----------
        shapes
            Shapes of the layout.
        tokens, frames
            So many tokens, in so many frames.
        """
        scales, size = (self.each - 1) * self.scales.itemsize, 0
        for shape, axis in zip(shapes, self.axes, strict=True):
            numbers = torch.Size(shape).numel()
            groups = frames * numbers if axis == "channel" else tokens * torch.Size(shape[:-1]).numel()
            size += tokens * numbers // (2 if self.store == "int4" else 1) + groups * scales
        return size


def _packed(x: Tensor, axis: Axis, store: Store, scales: torch.dtype) -> tuple[Tensor, ...]:
    """Return codes, step, and of integers the least number, of x [B, frames, S, ..., channels]."""
    over = 2 if axis == "channel" else -1
    wide = x.to(at_least_float32(x.dtype))
    if store == "fp8":
        step = _step(wide.abs().amax(over, keepdim=True) / LARGEST, scales)
        # As bytes, since gathering is not implemented for 8-bit floats.
        return (wide / step).clamp_(-LARGEST, LARGEST).to(FP8).view(torch.uint8), step.to(scales)
    levels = LEVELS[store]
    least, most = _below(wide.amin(over, keepdim=True), scales), wide.amax(over, keepdim=True)
    step = _step(most / levels - least / levels, scales)
    # Halves, since the difference of large numbers of both signs is infinite.
    codes = ((wide / 2 - least / 2) / (step / 2)).round_().clamp_(0, levels).nan_to_num_(0).to(torch.uint8)
    if store == "int4":
        low, high = codes.chunk(2, -1)
        codes = low | (high << 4)
    return codes, step.to(scales), least.to(scales)


def _below(exact: Tensor, scales: torch.dtype) -> Tensor:
    """Return numbers that the data type of scales holds, none larger than the exact one, in the type of that."""
    near = exact.to(scales).to(exact.dtype)
    lower = (exact - exact.abs() * torch.finfo(scales).eps).to(scales).to(exact.dtype)
    return torch.where(near > exact, lower, near)


def _step(exact: Tensor, scales: torch.dtype) -> Tensor:
    """Return steps that the data type of scales holds, none smaller than the exact one, in the type of that."""
    about = torch.finfo(scales)
    return (exact * (1 + about.eps)).to(scales).clamp_(min=about.smallest_normal).to(exact.dtype)


def _unpacked(stored: Sequence[Tensor], store: Store, dtype: torch.dtype) -> Tensor:
    """Return numbers in a data type, which holds all codes exactly."""
    codes, step = stored[0], stored[1].to(dtype)
    if store == "fp8":
        return codes.view(FP8).to(dtype) * step
    if store == "int4":
        codes = torch.cat((codes & 15, codes >> 4), -1)
    return torch.addcmul(stored[2].to(dtype), codes.to(dtype), step)
