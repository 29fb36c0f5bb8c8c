"""What makes campaigns of tests short: other tasks of the suite `drift`, and plots that are composed but not drawn.

Parts are code for processes that tests start, which do not import this package.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

MAIN = "from harness.cli import main\nmain()\n"
"""The command line."""


def drift_of(tasks: str) -> str:
    """Return code that gives the suite `drift` other tasks: an expression of `whole`, the list of its own."""
    return f"""
from dataclasses import replace
from suites.drift import Drift
tasks = Drift.tasks
def few(self, *asked):
    whole = tasks(self, *asked)
    return {tasks}
Drift.tasks = few
"""


def keep_place(figure: Any, path: Path) -> None:
    """Write an empty file in place of a plot: drawing is most of the time of a report, and has tests of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


UNDRAWN = f"""from __future__ import annotations
import reports.plots.panels
{inspect.getsource(keep_place)}
reports.plots.panels.save = keep_place
"""
"""Code by which a process draws no plots; it has to come first."""
