"""What a memory does at a scene boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["compress", "select", "resink", "nothing"]


@dataclass(frozen=True)
class Transition:
    """One kind of boundary. source: what is carried over. old_recent: frames of the old scene that are carried too.
    weight: of carried entries at first. decay: (fast, slow) factors a chunk. drop_after: chunks, 0 for never. jump:
    (least, most) temporal ids that the first chunk is moved ahead by."""

    source: Source
    old_recent: int
    weight: float
    decay: tuple[float, float]
    drop_after: int
    jump: tuple[int, int]

    @property
    def carried(self) -> int:
        """Frames that are carried over, at most."""
        return (self.source != "nothing") + self.old_recent

    @property
    def fades(self) -> bool:
        """Whether carried entries are ever scaled."""
        return self.weight != 1 or self.decay != (1.0, 1.0)
