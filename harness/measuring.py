"""A cell of a `CostSuite` is measured in a process of its own: nothing that ran before it can make it faster or fuller.

The parent writes what to measure into a file and the child what came of it into another; the child's output is told
only if it fails.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from harness.backbone.presets import Backbone
from harness.environment import cpu
from harness.errors import HorizonError, HorizonTooLongError, NotFiniteError
from harness.suite import CostSuite, Row, Sample, Task

if TYPE_CHECKING:
    from harness.campaign import Cell
    from harness.store import Status


class Outcome(NamedTuple):
    """What came of a measurement, and what there is to know about the machine meanwhile."""

    status: Status
    reason: str
    samples: list[Sample]
    machine: dict[str, Any]


def measured(cell: Cell, backbone: Backbone, timeout: float | None = None) -> Outcome:
    """Measure a cell of a `CostSuite` in a process of its own, with as many threads as this one has."""
    job = {
        "backbone": backbone.name,
        "device": str(backbone.model.device),
        "dtype": str(backbone.model.dtype).removeprefix("torch."),
        "strategy": cell.arm.name,
        "knobs": cell.arm.strategy.knobs(),
        "suite": cell.suite.name,
        "task": asdict(cell.task),
        "threads": torch.get_num_threads(),
    }
    with tempfile.TemporaryDirectory(prefix="horizon-") as folder:
        asked, told = Path(folder, "asked.json"), Path(folder, "told.json")
        asked.write_text(json.dumps(job))
        command = [sys.executable, "-m", "harness.measuring", str(asked), str(told), repr(time.time())]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False
            )
        except subprocess.TimeoutExpired:
            return Outcome("timeout", f"longer than {timeout:g} s", [], {})
        if not told.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            # The system kills what takes all memory.
            status: Status = "oom" if done.returncode == -signal.SIGKILL else "failed"
            return Outcome(status, f"its process ended with {done.returncode}: {last}", [], {})
        result = json.loads(told.read_text())
    return Outcome(result["status"], result["reason"], [Sample(*each) for each in result["samples"]], result["machine"])


def main(asked: Path, told: Path, began: float) -> None:
    """Measure what a file asks for, and write what came of it."""
    told.write_text(json.dumps(_measure(json.loads(asked.read_text()), began)))


def _measure(job: Mapping[str, Any], began: float) -> dict[str, Any]:
    from harness import meter, registry

    hardware = torch.cuda.get_device_name(job["device"]) if job["device"].startswith("cuda") else cpu()
    machine: dict[str, Any] = {
        "hardware": hardware,
        "threads": job["threads"],
        "cores": meter.pin(job["threads"]),
    }
    samples: list[Sample] = []
    status, reason = "ok", ""
    try:
        backbone = registry.backbone(job["backbone"], device=job["device"], dtype=job["dtype"])
        knobs = {name: tuple(value) if isinstance(value, list) else value for name, value in job["knobs"].items()}
        strategy = registry.strategy(job["strategy"], **knobs)
        suite = registry.load("suites", job["suite"])()
        assert isinstance(suite, CostSuite)
        machine |= {"attention": backbone.attention_kernel, "dtype": job["dtype"], "compile": False}
        with meter.Vigil(backbone.model.device) as vigil:
            samples = suite.measure(backbone, strategy, _task(job["task"]), began)
        machine |= vigil.about()
        vigil.check()
    except (torch.OutOfMemoryError, MemoryError, HorizonTooLongError) as error:
        status, reason = "oom", str(error).partition("\n")[0]
    except NotFiniteError as error:
        status, reason = "nan", str(error)
    except HorizonError as error:
        status, reason = "failed", str(error)
    return {"status": status, "reason": reason, "samples": samples if status == "ok" else [], "machine": machine}


def _task(about: Mapping[str, Any]) -> Task:
    rows = tuple(Row(row["seed"], tuple((start, text) for start, text in row["script"])) for row in about["rows"])
    return Task(**{**about, "rows": rows, "boundaries": tuple(about["boundaries"])})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
