"""A child that leaves with its parent: `python -m harness.engines.lifeline MODULE ARGUMENT...` runs a module that way.

A child holds the reading end of a pipe as its standard input. Nothing is ever written into it: when it ends, whatever
became of the parent, the child leaves too, also while it still imports. Only the standard library is imported here.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading

RUN = "HORIZON_RUN"
"""Variable that holds the name of a run, for the workers of the process that was asked."""


def leave_with_parent() -> None:
    """In a child: end this process as soon as the parent is gone."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def leave_if_worker() -> None:
    """The same for a process that another one has started to share its run."""
    if RUN in os.environ:
        leave_with_parent()


if __name__ == "__main__":
    leave_with_parent()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
