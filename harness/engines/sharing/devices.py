"""The devices on which workers run: one worker a device, which sees no other device."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import psutil
import torch

from harness.errors import CampaignError
from harness.shards import VISIBLE, own_device

LOCAL, THREADS = "LOCAL_RANK", "HORIZON_WORKER_THREADS"
"""Environment variables of a worker: its number on this machine, and its CPU threads."""
PRETENDED = "HORIZON_PRETENDED_DEVICES"
"""Environment variable with a number of devices that a machine without GPUs pretends to have, for tests."""
Workers = int | Literal["auto"]


@dataclass(frozen=True)
class Place:
    """Where a worker runs.

    Parameters
    ----------
    device
        Its device as `CUDA_VISIBLE_DEVICES` names it; "" for the CPU.
    number
        Number of the worker on this machine.
    threads
        Its CPU threads; None for the threads that the command names, or all.
    """

    device: str
    number: int
    threads: int | None = None

    def variables(self) -> dict[str, str]:
        """Return the environment variables that pin a process to this place."""
        pinned = {VISIBLE: self.device} if self.device else {}
        return {**pinned, LOCAL: str(self.number), **({} if self.threads is None else {THREADS: str(self.threads)})}


def visible(device: str) -> list[str]:
    """Return the devices that a campaign for `device` may use, as `CUDA_VISIBLE_DEVICES` names them.

    Parameters
    ----------
    device
        "cpu", "cuda", or one GPU, "cuda:1". The CPU is one device without a name.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return [str(number) for number in range(int(os.environ.get(PRETENDED) or 0))] or [""]
    listed = os.environ.get(VISIBLE)
    names = [str(number) for number in range(torch.cuda.device_count())]
    if listed is not None:
        # The system ignores what follows a name that is not a device.
        names = [name.strip() for name in listed.split(",")][: len(names)]
    return names[int(index) : int(index) + 1] if index.isdecimal() else names


def places(device: str, workers: Workers = "auto", threads: int | None = None) -> list[Place]:
    """Return a place for every worker, that of this process first.

    Parameters
    ----------
    device
        The campaign's device.
    workers
        Number of workers; "auto" for one a visible device.
    threads
        CPU threads of each worker as requested; None where nothing is requested, so that workers on one CPU split its
        cores.

    Raises
    ------
    CampaignError
        There are more workers than GPUs.
    """
    devices = visible(device)
    most = max(len(devices), 1)
    count: int = most if workers == "auto" else workers
    shared = devices == [""]
    if count > most and not shared:
        there = f"{len(devices)} device{'s' * (len(devices) != 1)}"
        raise CampaignError(
            f"--workers {count}: {there} can be seen here ({', '.join(devices)}), and each worker needs a device of "
            f"its own; give --workers {most} or fewer"
        )
    each = None
    if threads is None and count > 1 and device.partition(":")[0] != "cuda":
        each = max(1, cores() // count)
    names = devices * count if shared else (devices or [""])
    return [Place(name, number, each) for number, name in enumerate(names[:count])]


def pin(device: str, local: int) -> None:
    """Let this process, one of several on its machine, see no GPU but its own. CUDA must not have been used yet.

    Parameters
    ----------
    device
        The campaign's device; one that names a GPU by its number is left as it is.
    local
        Number of the process on its machine.

    Raises
    ------
    CampaignError
        There are more processes on the machine than GPUs.
    """
    names = visible(device)
    if device != "cuda" and names == [""]:
        return
    name = own_device(local, len(names)) if device in ("cpu", "cuda") else None
    if name is not None:
        os.environ[VISIBLE] = name


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return psutil.cpu_count() or 1


def given_threads(variables: Mapping[str, str] = os.environ) -> int | None:
    """Return the CPU threads that the process which started this worker gave it; None where it gave none."""
    found = variables.get(THREADS, "")
    return int(found) if found.isdecimal() else None


def key(device: torch.device) -> str:
    """Return the name of a device in locks: the same for all processes on it, another for each other device."""
    parts: Sequence[str] = [platform.node()]
    if device.type == "cuda":
        parts = [*parts, str(torch.cuda.get_device_properties(device).uuid)]
    elif os.environ.get(PRETENDED):
        parts = [*parts, os.environ.get(VISIBLE) or "0"]
    return re.sub(r"[^A-Za-z0-9_-]", "_", "-".join(parts))
