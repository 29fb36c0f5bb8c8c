"""When MemFlow records a frame, and when its bank takes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """When frames are recorded and taken, in numbers of chunks.

    size: slots of the bank. interval: chunks after which the next slot is taken. every: whether each chunk records its
    first frame, or each interval-th. retake: whether a full bank takes the same frame more than once.
    """

    size: int
    interval: int
    every: bool
    retake: bool

    def records(self, chunk: int) -> bool:
        """Return whether the chunk of this number records its first frame."""
        return self.every or chunk % self.interval == 0

    def slots(self, chunk: int) -> int:
        """Return the slots that a bank without end would have taken when the chunk of this number begins."""
        return (chunk - 1) // self.interval + 1 if chunk > 0 else 0

    def filled(self, chunk: int) -> int:
        """Return the frames in the bank when the chunk of this number begins."""
        return min(self.size, self.slots(chunk))

    def takes(self, chunk: int) -> bool:
        """Return whether the bank changes before the chunk of this number."""
        return chunk > 0 and (self.retake or self.slots(chunk) <= self.size or self.records(chunk - 1))

    def back(self, chunk: int) -> int:
        """Return how many chunks before this one the frame was recorded that the bank takes."""
        return 1 if self.every else (chunk - 1) % self.interval + 1
