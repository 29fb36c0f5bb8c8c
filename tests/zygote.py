"""Python processes that start in milliseconds: forked from one that has imported what takes long, and nothing of ours.

`run` is `subprocess.run` of `[sys.executable, *arguments]` for arguments that begin with -c or -m. A command line of
Horizon spends most of its time on importing torch, pandas and others; a test process keeps one process that has done
so, and each command is a fork of it, with modules of Horizon imported afresh, in its own environment and folder. Where
the environment would change how Python itself starts, a plain process is started instead.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

HEAVY = (
    "torch", "numpy", "pandas", "pyarrow.parquet", "scipy.stats", "matplotlib.pyplot", "av", "safetensors.torch",
    "pydantic", "rich.console", "typer", "jinja2", "einops", "filelock",
)  # fmt: skip
MODELS = ("transformers.models.umt5.modeling_umt5", "transformers.models.t5", "diffusers.models.autoencoders")
"""What the published backbones take beside."""
STARTS = ("PYTHON", "LC_", "LANG", "OMP_", "MPL", "LD_")
"""Beginnings of variables that are read when Python or a library starts."""


def run(
    arguments: Sequence[str],
    *,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
    models: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command of Python to its end, and return its exit code and what it said, as text.

    models: whether it reads files of the published formats, for which further libraries are imported.
    """
    environment = dict(os.environ if env is None else env)
    if not _starts_alike(environment):
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=cwd, env=environment, timeout=timeout, check=False, capture_output=True, encoding="utf-8"
        )
    with tempfile.TemporaryDirectory(prefix="zygote-") as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        asked = {
            "arguments": list(map(str, arguments)), "cwd": str(cwd or Path.cwd()), "env": environment,
            "out": str(out), "err": str(err), "timeout": timeout,
        }  # fmt: skip
        server = _server(models)
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        code = json.loads(server.stdout.readline())
        said = [path.read_text(encoding="utf-8", errors="replace") for path in (out, err)]
        if code is None:
            raise subprocess.TimeoutExpired(asked["arguments"], timeout, *said)
    return subprocess.CompletedProcess([sys.executable, *arguments], code, *said)


def _starts_alike(environment: Mapping[str, str]) -> bool:
    """Whether a process with this environment starts as this one did."""

    def matters(variables: Mapping[str, str]) -> dict[str, str]:
        # Where modules are looked for is set for each fork.
        return {key: value for key, value in variables.items() if key.startswith(STARTS) and key != "PYTHONPATH"}

    return matters(environment) == matters(os.environ)


@cache
def _server(models: bool) -> subprocess.Popen[str]:
    """The process that others are forked from; it ends when its standard input is closed."""
    command = [sys.executable, "-P", __file__, *(MODELS if models else ())]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def end() -> None:
        # Leaving the block closes the pipes and waits.
        with server:
            server.kill()

    atexit.register(end)
    return server


def _serve() -> None:
    """Fork a process for each request, and answer with its exit code; null for one that took too long."""
    import importlib
    import select
    import signal

    for name in (*HEAVY, *sys.argv[1:]):
        importlib.import_module(name)
    import matplotlib
    import torch

    matplotlib.use("agg")
    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            _become(asked)
        ended = os.pidfd_open(child)
        in_time, _, _ = select.select([ended], [], [], asked["timeout"])
        if not in_time:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(ended)
        answers.write(json.dumps(os.waitstatus_to_exitcode(status) if in_time else None) + "\n")
        answers.flush()


def _become(asked: Mapping[str, object]) -> None:
    """Be the process that was asked for, and end as it does."""
    import io
    import runpy
    import traceback

    code = 70
    try:
        os.chdir(str(asked["cwd"]))
        before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        os.environ.clear()
        os.environ.update(asked["env"])  # type: ignore[call-overload]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        for number, path in ((0, os.devnull), (1, asked["out"]), (2, asked["err"])):
            opened = os.open(str(path), os.O_RDONLY if number == 0 else flags, 0o644)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin = io.TextIOWrapper(io.FileIO(0, "r", closefd=False), encoding="utf-8")
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w", closefd=False)), encoding="utf-8")
            for number in (1, 2)
        )
        paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        sys.path[:] = [*paths, *(path for path in sys.path if path not in before)]
        arguments = list(asked["arguments"])  # type: ignore[call-overload]
        sys.orig_argv = [sys.executable, *arguments]
        if arguments[0] == "-P":
            arguments = arguments[1:]
        else:
            sys.path.insert(0, "" if arguments[0] == "-c" else os.getcwd())
        kind, what, *rest = arguments
        sys.argv = ["-c", *rest] if kind == "-c" else [what, *rest]
        if kind == "-c":
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                code = code or 120
        os._exit(code)


if __name__ == "__main__":
    _serve()
