"""The machine: processor, torch, driver and devices."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import torch

from harness.doctor.checks import Check
from harness.provenance.environment import cpu

GROUP = "machine"
GB = 1e9
OLDEST = (8, 0)
"""Compute capability from which a device has bfloat16 matrix products and flash attention."""
LEAST_BYTES = 8e9
"""Bytes of host memory below which a note is due: torch and a worker take about one gigabyte each."""


@dataclass(frozen=True)
class Gpu:
    """A device as torch sees it.

    Parameters
    ----------
    name
        Its name.
    capability
        Its compute capability, (major, minor).
    bytes, free
        Bytes of its memory, and those that are free.
    """

    name: str
    capability: tuple[int, int]
    bytes: int
    free: int


@dataclass(frozen=True)
class Machine:
    """The facts of a machine.

    Parameters
    ----------
    python, torch
        Versions.
    cpu, threads, bytes, free
        Processor, torch's threads, bytes of the host's memory, and those that are free.
    cuda
        Version of CUDA that torch was built with; None for a build without CUDA.
    gpus
        Devices that torch can use.
    driver
        Version of NVIDIA's driver; None where there is none.
    driver_cuda
        Newest version of CUDA that the driver can run, (major, minor); None where there is no driver.
    present
        Names of the devices that the driver sees, whether or not torch can use them.
    """

    python: str
    torch: str
    cpu: str
    threads: int
    bytes: int
    free: int
    cuda: str | None = None
    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    driver_cuda: tuple[int, int] | None = None
    present: tuple[str, ...] = ()


def read_machine() -> Machine:
    """Return the facts of this machine."""
    host = psutil.virtual_memory()
    driver, newest, present = _driver()
    return Machine(
        python=platform.python_version(),
        torch=torch.__version__,
        cpu=cpu(),
        threads=torch.get_num_threads(),
        bytes=host.total,
        free=host.available,
        cuda=torch.version.cuda,
        gpus=_gpus(),
        driver=driver,
        driver_cuda=newest,
        present=present,
    )


def _gpus() -> tuple[Gpu, ...]:
    with warnings.catch_warnings():
        # Torch warns of a driver that is too old, which is said as advice here.
        warnings.simplefilter("ignore")
        if not torch.cuda.is_available():
            return ()
    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        capability = torch.cuda.get_device_capability(number)
        found.append(Gpu(torch.cuda.get_device_name(number), capability, total, free))
    return tuple(found)


def _driver() -> tuple[str | None, tuple[int, int] | None, tuple[str, ...]]:
    """Return the driver's version, the newest CUDA that it runs, and the names of the devices that it sees."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None, None, ()
    try:
        newest = pynvml.nvmlSystemGetCudaDriverVersion()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        names = tuple(str(pynvml.nvmlDeviceGetName(handle)) for handle in handles)
        return str(pynvml.nvmlSystemGetDriverVersion()), (newest // 1000, newest % 1000 // 10), names
    except pynvml.NVMLError:
        return None, None, ()
    finally:
        pynvml.nvmlShutdown()


def check_machine(machine: Machine, asked: str | None) -> Iterator[Check]:
    """Yield the checks of a machine's facts.

    Parameters
    ----------
    machine
        The facts.
    asked
        The requested device; None where it may be any.
    """
    yield Check(GROUP, "python", "ok", f"{machine.python}, torch {machine.torch}", facts={"torch": machine.torch})
    short = machine.free < LEAST_BYTES
    yield Check(
        GROUP,
        "host",
        "limited" if short else "ok",
        f"{machine.cpu}, {machine.threads} threads, {machine.free / GB:.1f} of {machine.bytes / GB:.1f} GB free",
        "little memory is free: end other programs, or use one worker (--workers 1)" if short else "",
        facts={"bytes": machine.bytes, "free_bytes": machine.free, "threads": machine.threads},
    )
    yield _driver_check(machine)
    yield _gpu_check(machine, asked)
    for number, gpu in enumerate(machine.gpus):
        yield _device_check(number, gpu)


def chosen(machine: Machine, asked: str | None) -> str:
    """Return the device that the other checks use: the requested one if this machine has it, else the CPU."""
    wanted = asked or "cuda"
    kind, _, number = wanted.partition(":")
    return wanted if kind == "cuda" and int(number or 0) < len(machine.gpus) else "cpu"


def _driver_check(machine: Machine) -> Check:
    if machine.driver is None or machine.driver_cuda is None:
        return Check(GROUP, "driver", "ok", "no NVIDIA driver")
    newest = ".".join(map(str, machine.driver_cuda))
    found = f"NVIDIA {machine.driver}, runs CUDA {newest}; torch is built for {machine.cuda or 'the CPU only'}"
    facts = {"driver": machine.driver, "driver_cuda": newest, "torch_cuda": machine.cuda}
    # Minor versions of one major version are compatible.
    if machine.cuda is not None and machine.driver_cuda[0] < int(machine.cuda.partition(".")[0]):
        advice = (
            f"the driver is too old for this torch: install a driver for CUDA {machine.cuda} or later, or a torch that "
            f"is built for CUDA {machine.driver_cuda[0]}"
        )
        return Check(GROUP, "driver", "limited", found, advice, facts)
    return Check(GROUP, "driver", "ok", found, facts=facts)


def _gpu_check(machine: Machine, asked: str | None) -> Check:
    number = int((asked or "").partition(":")[2] or 0)
    wanted = (asked or "").startswith("cuda")
    if len(machine.gpus) > number:
        count = len(machine.gpus)
        return Check(GROUP, "GPU", "ok", f"{count} device{'s' * (count > 1)} can be used", facts={"devices": count})
    if machine.gpus:
        last = len(machine.gpus) - 1
        found = f"there is no device {asked}; the checks below are of the CPU"
        return Check(GROUP, "GPU", "broken", found, f"ask for cuda:0{f' to cuda:{last}' * bool(last)}, or for cpu")
    seen = ", ".join(dict.fromkeys(machine.present))
    if not seen:
        found = "no GPU; all below is of the CPU, which is enough for the pocket"
        advice = "ask for --device cpu, or run this on a machine with a GPU" if wanted else ""
        return Check(GROUP, "GPU", "broken" if wanted else "ok", found, advice)
    found = f"{seen} is there, and this torch cannot use it; all below is of the CPU"
    built = "install a torch that is built for CUDA (pip install torch without a CPU index)"
    advice = built if machine.cuda is None else "see the driver above; CUDA_VISIBLE_DEVICES may also hide the device"
    return Check(GROUP, "GPU", "broken" if wanted else "limited", found, advice)


def _device_check(number: int, gpu: Gpu) -> Check:
    capability = ".".join(map(str, gpu.capability))
    found = f"{gpu.name}, capability {capability}, {gpu.free / GB:.1f} of {gpu.bytes / GB:.1f} GB free"
    facts = {"name": gpu.name, "capability": capability, "bytes": gpu.bytes, "free_bytes": gpu.free}
    name = f"cuda:{number}"
    if gpu.capability < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        advice = f"capability {oldest} has bfloat16 and flash attention; set dtype = 'float32' in campaigns"
        return Check(GROUP, name, "limited", found, advice, facts)
    if gpu.free < gpu.bytes / 2:
        advice = "another program holds more than half of its memory (nvidia-smi names it): end it before measuring"
        return Check(GROUP, name, "limited", found, advice, facts)
    return Check(GROUP, name, "ok", found, facts=facts)
