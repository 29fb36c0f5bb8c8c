"""The measurement of a cell of a `CostSuite` in its own process, so that earlier cells affect neither time nor memory.

The parent writes the job into a file, and the child writes the outcome into another. The child's output is used only if
it fails.
"""

from __future__ import annotations

import errno
import inspect
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from harness.backbone.presets import Backbone
from harness.backbone.request import BackboneRequest
from harness.engines.children import MODULE, child
from harness.engines.outcome import is_full, outcome_of
from harness.errors import MeasurementError
from harness.files import write_text
from harness.locks import lock
from harness.measure.meter import Vigil, pin
from harness.memory import Strategy
from harness.provenance.code import code_of
from harness.provenance.environment import cpu
from harness.suite import CostSuite, Row, Sample, Task

if TYPE_CHECKING:
    from harness.campaign.expansion import Cell
    from harness.store.store import Status


MEASURING = "measuring"
"""Name of the folder and of the lock of the process that measures."""


class Outcome(NamedTuple):
    """The outcome of a measurement: status, reason, samples, and facts about the machine during it."""

    status: Status
    reason: str
    samples: list[Sample]
    machine: dict[str, Any]


def measured(cell: Cell, backbone: Backbone, timeout: float | None = None, place: Path | None = None) -> Outcome:
    """Measure a cell of a `CostSuite` in its own process, with the number of threads of this process.

    Parameters
    ----------
    cell
        The cell.
    backbone
        The opened backbone; the child opens its own.
    timeout
        Seconds until the child is killed, with the outcome "timeout".
    place
        A folder that all processes of a campaign share, for the files of the child. The child holds a lock there while
        it measures, so that it measures alone even if an earlier child has outlived its parent.

    Raises
    ------
    OSError
        The disk is full, which is not an outcome of the cell.
    """
    job = {
        "backbone": vars(backbone.request()),
        "strategy": cell.arm.name,
        "knobs": cell.arm.strategy.knobs(),
        "suite": cell.suite.name,
        "task": asdict(cell.task),
        "threads": torch.get_num_threads(),
        "code": None if cell.code is None else cell.code.all.digest,
        "lock": None if place is None else str((place / f"{MEASURING}.lock").resolve()),
    }
    with _workspace(place) as folder:
        asked, told = Path(folder, "asked.json"), Path(folder, "told.json")
        asked.write_text(json.dumps(job), encoding="utf-8")
        command = [*MODULE, "harness.engines.isolated", str(asked), str(told), repr(time.time())]
        pipe = subprocess.PIPE
        with child(command, stdout=pipe, stderr=pipe) as process:
            try:
                _, errors = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                return Outcome("timeout", f"longer than {timeout:g} s", [], {})
        if process.returncode == os.EX_IOERR:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        if not told.exists():
            last = (errors.strip().splitlines() or ["no message"])[-1]
            # The system kills a process that takes all memory.
            status: Status = "oom" if process.returncode == -signal.SIGKILL else "failed"
            return Outcome(status, f"its process ended with {process.returncode}: {last}", [], {})
        result = json.loads(told.read_text(encoding="utf-8"))
    return Outcome(result["status"], result["reason"], [Sample(*each) for each in result["samples"]], result["machine"])


@contextmanager
def _workspace(place: Path | None) -> Iterator[Path]:
    """Make a folder for the files of parent and child; files that a killed parent left are removed first."""
    if place is None:
        with tempfile.TemporaryDirectory(prefix="horizon-") as aside:
            yield Path(aside)
        return
    folder = place / MEASURING
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(asked: Path, told: Path, began: float) -> None:
    """Run as the child: measure the job in the file `asked`, and write the outcome into the file `told`.

    began: time at which the process was started, as of `time.time`.
    """
    from harness import registry

    job = json.loads(asked.read_text(encoding="utf-8"))
    request = BackboneRequest(**job["backbone"])
    cores = pin(job["threads"])

    def prepared() -> tuple[CostSuite, Backbone, Strategy]:
        backbone = registry.open_backbone(request)
        knobs = {name: tuple(value) if isinstance(value, list) else value for name, value in job["knobs"].items()}
        suite, strategy = registry.load("suites", job["suite"])(), registry.strategy(job["strategy"], **knobs)
        if job.get("code") is not None and code_of(strategy, suite, request.name).all.digest != job["code"]:
            raise MeasurementError(
                "the code was changed while the campaign was running; start it again, so that all cells are measured "
                "with the same code"
            )
        return suite, backbone, strategy

    try:
        with lock(Path(job["lock"])) if job.get("lock") else nullcontext():
            outcome = observed(prepared, _task(job["task"]), began)
        whole = {"threads": job["threads"], "cores": cores, **outcome.machine}
        write_text(told, json.dumps(outcome._replace(machine=whole)._asdict()))
    except OSError as error:
        if not is_full(error):
            raise
        sys.exit(os.EX_IOERR)


def observed(
    prepare: Callable[[], tuple[CostSuite, Backbone, Strategy]],
    task: Task,
    began: float = math.nan,
    between_chunks: Callable[[], None] | None = None,
) -> Outcome:
    """Measure a task in this process.

    Parameters
    ----------
    prepare
        Makes the suite, the backbone and the strategy; an error in it becomes the outcome.
    task
        The task.
    began
        Time at which the process was started, as of `time.time`, if the start is part of the measurement.
    between_chunks
        Passed to suites that take it, as `CostSuite` describes.

    Raises
    ------
    OSError
        The disk is full.
    """
    machine: dict[str, Any] = {}
    try:
        suite, backbone, strategy = prepare()
        device = backbone.model.device
        machine = {
            "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu(),
            "attention": backbone.attention_kernel,
            "dtype": backbone.dtype,
            "compile": backbone.compile,
        }
        with Vigil(device) as vigil:
            samples = suite.measure(backbone, strategy, task, began, **_taken(suite, between_chunks=between_chunks))
        machine |= vigil.about()
        vigil.check()
    except Exception as error:
        if is_full(error):
            raise
        # An error of one strategy must not end the measurements of the others.
        status, reason = outcome_of(error)
        return Outcome(status, reason, [], machine)
    return Outcome("ok", "", samples, machine)


def _taken(suite: CostSuite, **options: Any) -> dict[str, Any]:
    """Return the options that the suite's `measure` takes; plug-ins may be older than some options."""
    parameters = inspect.signature(suite.measure).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return options
    return {name: value for name, value in options.items() if name in parameters}


def _task(about: Mapping[str, Any]) -> Task:
    rows = tuple(Row(row["seed"], tuple((start, text) for start, text in row["script"])) for row in about["rows"])
    return Task(**{**about, "rows": rows, "boundaries": tuple(about["boundaries"])})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
