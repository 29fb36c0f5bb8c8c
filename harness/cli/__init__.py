"""The command line: `horizon run | status | compare | merge | gate | baseline | plan | list | describe | verify | ...`.

Exit codes: 0 done, 1 an invariant is broken, 2 a mistake in the request (one line on the error stream), 130 stopped by
Ctrl-C, 70 a mistake of Horizon's own (with a traceback).
"""

from __future__ import annotations

import os
import sys
import traceback

import typer

from harness.cli import campaign, gate, make, plan, show, status
from harness.cli.terminal import app
from harness.errors import HorizonError

__all__ = ["app", "campaign", "gate", "main", "make", "plan", "show", "status"]


def main() -> None:
    """The console command: every mistake of a user is one line and exit code 2, never a traceback."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except HorizonError as error:
        _fail(str(error))
    except typer.TyperException as error:
        _fail(f"{error.format_message().rstrip('.')} (horizon --help shows what there is)")
    except (KeyboardInterrupt, typer.Abort):
        print("horizon: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader went away (`horizon list | head`); nothing is left to say to it.
        _discard_output()
        sys.exit(1)
    except OSError as error:
        _discard_output()
        _fail(f"cannot write the output: {error.strerror or error}")
    except Exception:
        # A mistake of ours must not be taken for a verdict.
        traceback.print_exc()
        sys.exit(70)
    sys.exit(code or 0)


def _discard_output() -> None:
    """Point the standard output elsewhere, so that Python does not fail on it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> None:
    print("horizon: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)
