"""The limits of devices: from data sheets, or measured on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import psutil
import torch


@dataclass(frozen=True)
class Device:
    """The limits of a device.

    Parameters
    ----------
    name
        Its name.
    flops
        Operations per second at the plan's precision, without sparsity.
    bandwidth
        Bytes per second of its memory.
    memory
        Bytes of its memory.
    """

    name: str
    flops: float
    bandwidth: float
    memory: float


DEVICES = {
    device.name: device
    for device in (
        Device("H100", 989e12, 3.35e12, 80e9),
        Device("H200", 989e12, 4.8e12, 141e9),
        Device("B200", 2250e12, 8.0e12, 180e9),
        Device("A100", 312e12, 2.04e12, 80e9),
        Device("A6000", 154.8e12, 0.768e12, 48e9),
        Device("4090", 165.2e12, 1.008e12, 24e9),
    )
}
"""Devices by name, from the manufacturers' data sheets: dense bfloat16 with float32 accumulation; the SXM module where
there are several variants."""
HERE = "here"
"""Name of this machine, whose limits are measured."""


@cache
def at_hand(dtype: torch.dtype, device: str) -> Device:
    """Return this machine's device: from its data sheet if known for this precision, else as measured by `here`."""
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    known = (found for key, found in DEVICES.items() if key in name and dtype == torch.bfloat16)
    return next(known, None) or here(dtype, device)


def here(dtype: torch.dtype, device: str = "cpu", seconds: float = 0.5) -> Device:
    """Return this machine's device with measured limits: its fastest matrix product and its fastest copy.

    Parameters
    ----------
    dtype
        Data type of the product.
    device
        "cpu" or "cuda".
    seconds
        Seconds of each of the two measurements.
    """
    size = 8192 if device == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    source = torch.empty(2**28 if device == "cuda" else 2**26, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    if device == "cuda":
        name, memory = torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1]
    else:
        name, memory = f"{HERE}, {torch.get_num_threads()} threads", psutil.virtual_memory().total
    return Device(
        name,
        2 * size**3 / _fastest(lambda: torch.matmul(left, right, out=out), device, seconds),
        2 * source.nbytes / _fastest(lambda: target.copy_(source), device, seconds),
        memory,
    )


def _fastest(work: Callable[[], object], device: str, seconds: float) -> float:
    """Return the shortest time in seconds of the runs that fit into `seconds`."""
    best, until = math.inf, time.perf_counter() + seconds
    work()
    while time.perf_counter() < until or best == math.inf:
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best
