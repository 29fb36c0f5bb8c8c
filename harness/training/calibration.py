"""Interface of the modules that entry points of `horizon.calibrations` refer to, used by `horizon calibrate NAME`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from harness.backbone.presets import Backbone
from harness.memory import Strategy


class Calibration(Protocol):
    """Measurement of a backbone during rollouts, whose result is a file that a strategy reads."""

    def calibrate(
        self, strategy: Strategy, backbone: Backbone, *, rollouts: int, seed: int, report: Callable[[int], None]
    ) -> tuple[str, str]:
        """Return the text of the file, and a short description of the result.

        Raises HorizonError for a backbone that cannot be calibrated. report: called with the number of finished
        rollouts.
        """
        ...

    def knob(self) -> str:
        """Return the knob that takes the file."""
        ...

    def shipped(self, backbone: str) -> Path:
        """Return the place from which the package reads the file of a backbone."""
        ...
