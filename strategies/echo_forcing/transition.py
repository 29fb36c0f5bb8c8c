"""Parameters of a scene boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["compress", "select", "resink", "nothing"]


@dataclass(frozen=True)
class Transition:
    """One kind of boundary. source: the carried frame. old_recent: frames of the old scene that are carried too.
    weight: initial weight of carried entries. decay: (fast, slow) factors a chunk. drop_after: chunks, 0 for never.
    jump: (least, most) temporal ids by which the first chunk is moved ahead."""

    source: Source
    old_recent: int
    weight: float
    decay: tuple[float, float]
    drop_after: int
    jump: tuple[int, int]

    @property
    def carried(self) -> int:
        """Largest number of carried frames."""
        return (self.source != "nothing") + self.old_recent

    @property
    def fades(self) -> bool:
        """Whether carried entries are ever scaled."""
        return self.weight != 1 or self.decay != (1.0, 1.0)
