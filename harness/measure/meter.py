"""Clocks, memory and device readings."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

import psutil
import torch

from harness.errors import MeasurementError

EVERY = 0.25
"""Seconds between readings of a device."""


class Stopwatch:
    """Time marks on a device: CUDA events, which cost the host almost nothing and are read at the end, or times of the
    CPU's clock."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.cuda = device, device.type == "cuda"
        self.marks: list[Any] = []

    def mark(self) -> None:
        """Record the time at which all work so far is done."""
        if self.cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self.device))
            self.marks.append(event)
        else:
            self.marks.append(time.perf_counter_ns())

    def seconds(self) -> list[float]:
        """Return the seconds between successive marks; waits for the device once."""
        pairs = list(zip(self.marks, self.marks[1:], strict=False))
        if self.cuda:
            torch.cuda.synchronize(self.device)
            return [before.elapsed_time(after) / 1e3 for before, after in pairs]
        return [(after - before) / 1e9 for before, after in pairs]


def pin(threads: int) -> list[int]:
    """Set the number of threads of this process, and pin it to as many cores; return the cores."""
    torch.set_num_threads(threads)
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
    return cores


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return psutil.Process().memory_info().rss


def forget_peak() -> None:
    """Reset the peak of `resident_peak`, on systems that can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return


def resident_peak() -> int:
    """Return the most bytes of this process that were in memory since `forget_peak`."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return resident()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), resident())


class Vigil:
    """A monitor that reads the state of the machine during a measurement.

    On CUDA it reads clock, power, temperature, throttling, used memory of the device and the number of its processes; a
    second process is an error. On a CPU it reads the cores that this process used and its involuntary context switches.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rows: list[dict[str, float]] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.handle: Any = None
        if device.type == "cuda":
            import pynvml

            pynvml.nvmlInit()
            uuid = str(torch.cuda.get_device_properties(device).uuid)
            self.handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")

    def __enter__(self) -> Vigil:
        self.before = _used()
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop.set()
        self.thread.join()
        self.after = _used()

    def check(self) -> None:
        """Raise MeasurementError if another process ran on the device."""
        most = max((row["processes"] for row in self.rows if "processes" in row), default=0)
        # Ids of processes differ inside and outside a container; their number does not.
        if most > 1:
            raise MeasurementError(
                f"device busy: {most - 1:.0f} other process(es) on {self.device}; stop them, then run again with "
                "--retry failed"
            )

    def about(self) -> dict[str, Any]:
        """Return a summary of the readings for the record of a cell."""
        if self.handle is None:
            wall, cores, waits = (after - before for before, after in zip(self.before, self.after, strict=True))
            return {"cores_used": round(cores / wall, 3), "made_to_wait": waits}
        told: dict[str, Any] = {}
        for name in ("sm_mhz", "watts", "celsius"):
            values = [row[name] for row in self.rows if name in row]
            if values:
                told[name] = {"low": min(values), "median": median(values), "high": max(values)}
        told["throttled"] = any(row.get("throttled") for row in self.rows)
        told["device_peak_bytes"] = max((row["used"] for row in self.rows if "used" in row), default=None)
        return told

    def _watch(self) -> None:
        while self.handle is not None and not self.stop.wait(EVERY):
            self.rows.append(_device(self.handle))


def _used() -> tuple[float, float, int]:
    """Return the wall clock and this process's CPU time in seconds, and its number of involuntary context switches."""
    process = psutil.Process()
    times = process.cpu_times()
    return time.monotonic(), times.user + times.system, process.num_ctx_switches().involuntary


def _device(handle: Any) -> dict[str, float]:
    import pynvml

    harmless = pynvml.nvmlClocksThrottleReasonGpuIdle | pynvml.nvmlClocksThrottleReasonApplicationsClocksSetting
    readings: Sequence[tuple[str, Any]] = (
        ("sm_mhz", lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),
        ("watts", lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
        ("celsius", lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
        ("throttled", lambda: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) & ~harmless != 0),
        ("used", lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).used),
        ("processes", lambda: len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle))),
    )
    found: dict[str, float] = {}
    for name, read in readings:
        try:
            found[name] = float(read())
        except pynvml.NVMLError:
            # Some devices and containers do not provide every reading.
            continue
    return found
