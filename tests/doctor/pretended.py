"""Machines that are pretended: their facts and what their kernels, encoders and folders answer."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

from harness.doctor.examination import Patient, Probes
from harness.doctor.folder import FolderProbes
from harness.doctor.kernels import WORKS
from harness.doctor.machine import Gpu, Machine

H100 = Gpu("NVIDIA H100 80GB HBM3", (9, 0), 80 * 10**9, 79 * 10**9)
CPU_ONLY = Machine(python="3.11.7", torch="2.13.0", cpu="a processor", threads=8, bytes=64 * 10**9, free=60 * 10**9)
WITH_GPU = dataclasses.replace(
    CPU_ONLY, cuda="13.0", gpus=(H100,), driver="580.65", driver_cuda=(13, 0), present=(H100.name,)
)
OLD_DRIVER = dataclasses.replace(WITH_GPU, gpus=(), driver="535.104", driver_cuda=(12, 2))


def works(device: torch.device) -> None:
    """A kernel that answers."""


def missing(*_: object) -> NoReturn:
    """A part that fails."""
    raise RuntimeError("no such thing\nhere")


def read_only(folder: Path) -> NoReturn:
    """A folder in which no file can be made."""
    raise OSError(errno.EROFS, "Read-only file system", str(folder))


def probes(machine: Machine | Callable[..., NoReturn] = WITH_GPU, **changes: Any) -> Probes:
    """A machine on which all is well, but for `changes`; `without` names kernels that do not answer."""
    without = changes.pop("without", ())
    return Probes(
        **{
            "machine": machine if callable(machine) else lambda: machine,
            "works": {name: missing if name in without else works for name in WORKS},
            "packages": dict,
            "write": lambda lossless: None,
            "font": lambda: "DejaVu Sans",
            "folder": FolderProbes(lambda folder: True, lambda folder: "ext4", lambda folder: 10**12),
            "parity": lambda name, device: 1e-6,
            **changes,
        }
    )


def patient(folder: Path, **changes: Any) -> Patient:
    """The examination of a folder with the pocket, unless `changes` say otherwise."""
    asked = {"device": None, "backbone": "pocket", "weights": None, "folder": folder, "seconds": 60.0, "decoder": None}
    return Patient(**asked | changes)
