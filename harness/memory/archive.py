"""An archive in the host's memory: copies of what a memory has let go of on its device, kept for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Archive:
    """Tensors off the device by name, in the order in which they came.

    Copies into and out of it do not wait for a CUDA device: they are in order with its other work. So what was put in
    must not be read on the CPU before the device has been waited for, as copying anything else from it does.

    Parameters
    ----------
    device
        Device from which and to which frames are copied. On "meta" the archive has no contents either.

    Attributes
    ----------
    tensors : dict
        What is in it, for `Memory.archived`; never to be written to once it is complete.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.tensors: dict[str, Tensor] = {}

    def room(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return room for a new tensor, uninitialised, which has its place in the order from now on.

        Parameters
        ----------
        name
            Name that was not given before.
        shape, dtype
            Shape and data type of the tensor.

        Returns
        -------
        Tensor
            On the CPU, pinned where the device is CUDA.
        """
        place = self.device if self.device.type == "meta" else torch.device("cpu")
        pinned = self.device.type == "cuda"
        self.tensors[name] = torch.empty(tuple(shape), dtype=dtype, device=place, pin_memory=pinned)
        return self.tensors[name]

    def load(self, archive: Mapping[str, Tensor]) -> None:
        """Go on with what another archive held, by reference; pinned copies where the device is CUDA."""
        if self.device.type == "cuda":
            archive = {name: x if x.is_pinned() else x.pin_memory() for name, x in archive.items()}
        self.tensors = dict(archive)
