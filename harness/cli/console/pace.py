"""The progress of a long job, the time left, and when to print a line about them where no bar can be shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

EVERY = 10.0
"""Least seconds between two lines about a job."""
SHARE = 0.1
"""Least time between two lines, as a share of the time since the beginning, so that long jobs print few lines."""


class Pace:
    """The amount of work that is done and left, by kind, since the same amount may take longer for some kinds.

    Parameters
    ----------
    work
        Amount of each kind, in any unit.
    clock
        Returns the time in seconds.
    """

    def __init__(self, work: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self.left = dict(work)
        self.done = dict.fromkeys(work, 0.0)
        self.spent = dict.fromkeys(work, 0.0)
        self.clock = clock
        self.began = self.marked = self.spoken = clock()

    def advance(self, kind: str, amount: float) -> None:
        """Count work that has just been done; the time since the last call is attributed to it."""
        now = self.clock()
        self.spent[kind] += now - self.marked
        self.marked = now
        self.done[kind] += amount
        self.left[kind] = max(self.left[kind] - amount, 0.0)

    def pass_over(self, kind: str, amount: float) -> None:
        """Count work whose time is unknown, because the time since the last call includes other work."""
        self.marked = self.clock()
        self.left[kind] = max(self.left[kind] - amount, 0.0)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self.clock() - self.began

    def seconds_left(self) -> float | None:
        """Return the expected seconds of the rest; None before anything is done. New kinds count as average."""
        done = sum(self.done.values())
        if not done:
            return None
        usual = sum(self.spent.values()) / done
        return sum(
            left * (self.spent[kind] / self.done[kind] if self.done[kind] else usual)
            for kind, left in self.left.items()
        )

    def in_words(self) -> str:
        """Return the time left as text, "about 3 min left"; "" before anything is done."""
        seconds = self.seconds_left()
        return "" if seconds is None else f"about {span(seconds)} left"

    def due(self) -> bool:
        """Return whether a line is due; if so, the time until the next line begins."""
        now = self.clock()
        if now - self.spoken < max(EVERY, SHARE * (now - self.began)):
            return False
        self.spoken = now
        return True


def span(seconds: float) -> str:
    """Return a duration in seconds as text with its largest units: "40 s", "3 min", "2 h 10 min", "1 d 3 h"."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
