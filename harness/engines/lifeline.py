"""Children that end with their parent: `python -m harness.engines.lifeline MODULE ARGUMENT...` runs a module that way.

The standard input of a child is the reading end of a pipe into which nothing is written. The pipe closes when the
parent ends in any way; then the child ends too, even during its imports. Only the standard library is imported here.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading

RUN = "HORIZON_RUN"
"""Environment variable with the name of the run; it is set for the workers of the process that the user started."""


def leave_with_parent() -> None:
    """End this process as soon as its parent has ended; for children."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def leave_if_worker() -> None:
    """Do the same as `leave_with_parent` if this process is a worker."""
    if RUN in os.environ:
        leave_with_parent()


if __name__ == "__main__":
    leave_with_parent()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
