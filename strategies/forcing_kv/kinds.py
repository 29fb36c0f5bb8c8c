"""What heads of one kind keep, and patches of frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.memory import Entries, Heads
from harness.memory.heads import HeadFrames
from harness.memory.packed import Packing, restored


@dataclass
class Kind:
    """What heads of one kind keep in a layer.

    tail: how many of the last frames. patches: of dynamic heads, [n, frames, S, 1, ...]; None before there are any.
    """

    sink: HeadFrames
    latest: HeadFrames
    tail: int
    dynamic: bool
    patches: Entries | None = None

    @property
    def heads(self) -> Heads:
        return self.sink.heads

    def stored(self) -> Iterable[Tensor]:
        """Return all tensors."""
        patches = [] if self.patches is None else self.patches.stored
        return [*self.sink.stored(), *self.latest.stored(), *patches]

    def state_dict(self) -> dict[str, Any]:
        """Return all that is kept."""
        return {
            "sink": self.sink.state_dict(),
            "latest": self.latest.state_dict(),
            "tail": self.tail,
            "dynamic": self.dynamic,
            "patches": [] if self.patches is None else [self.patches.state()],
        }

    @classmethod
    def loaded(cls, state: Mapping[str, Any], packing: Packing | None) -> Kind:
        """Return what a state holds. packing: of the memory that goes on."""
        patches = restored(state["patches"][0], packing) if state["patches"] else None
        sink, latest = (HeadFrames.loaded(state[name], packing) for name in ("sink", "latest"))
        return cls(sink, latest, state["tail"], state["dynamic"], patches)


def gathered(entries: Entries, chosen: Tensor, patches: int) -> Entries:
    """Return chosen patches of frames of n heads, put together to whole frames.

    Parameters
    ----------
    entries: [n, frames, S, 1, ...].
    chosen: numbers of patches, those of the first frame first, [n, as many as some frames have].
    patches: of a frame.
    """

    def taken(x: Tensor) -> Tensor:
        parts = x.flatten(1, 2).unflatten(1, (x.shape[1] * patches, -1))
        heads = torch.arange(len(parts), device=parts.device)[:, None]
        return parts[heads, chosen].flatten(1, 2).unflatten(1, (-1, x.shape[2]))

    return entries.map(taken)
