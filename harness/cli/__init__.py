"""The command line: `horizon run | import | score | status | compare | share | gate | plan | doctor | list | ...`.

Exit codes: 0 for success; 1 for a negative result, such as failed cells, a worker that died, a broken invariant or a
regression; 2 for an error in the request (one line on stderr); 130 after Ctrl-C; 70 for a bug of Horizon (with a
traceback).
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import traceback

import typer

from harness import escaping
from harness.cli import calibrate, doctor, foreign, gate, make, plan, publish, show
from harness.cli.console.checks import no_empty_words
from harness.cli.console.failures import mistyped, one_line
from harness.cli.console.terminal import app, command_line
from harness.cli.runs import campaign, status, submit
from harness.engines.lifeline import leave_if_worker
from harness.errors import HorizonError

__all__ = [
    "app", "calibrate", "campaign", "doctor", "foreign", "gate", "main", "make", "plan", "publish", "show", "status",
    "submit",
]  # fmt: skip


def main() -> None:
    """Run the command line. An error of the user ends with one line and exit code 2, never with a traceback."""
    leave_if_worker()
    _stop_at_once_the_second_time()
    _print_in_any_locale()
    try:
        no_empty_words(sys.argv[1:])
        code = command_line()(sys.argv[1:] or ["--help"], standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except HorizonError as error:
        _fail(str(error))
    except typer.TyperException as error:
        _fail(mistyped(error))
    except (KeyboardInterrupt, typer.Abort):
        print("horizon: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of the output has ended, as in `horizon list | head`.
        _discard_output()
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            _discard_output()
        _fail(one_line(error))
    except Exception:
        # The exit code of a bug must differ from 1, which the gate uses for a regression.
        traceback.print_exc()
        sys.exit(70)
    sys.exit(code or 0)


def _stop_at_once_the_second_time() -> None:
    """Let a second Ctrl-C end the process at once, during the cleanup after the first one.

    That is safe, because files of campaigns and videos stay valid whenever a process dies.
    """

    def again(*_: object) -> None:
        os._exit(130)

    def first(*_: object) -> None:
        signal.signal(signal.SIGINT, again)
        raise KeyboardInterrupt

    # If Ctrl-C is ignored, as in the background, it stays ignored. Only the main thread may install handlers.
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if usual and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, first)


def _print_in_any_locale() -> None:
    """Print characters that the terminal's encoding lacks as question marks, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _discard_output() -> None:
    """Redirect the standard output to the null device, so that Python does not fail on it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> None:
    # Always one line: the message may contain names with line breaks.
    print(f"horizon: {escaping.terminal(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(2)
