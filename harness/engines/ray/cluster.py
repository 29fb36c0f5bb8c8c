"""The connection to a cluster of Ray, and how many workers it has room for. Only functions here import Ray."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from harness.engines.children import environment_of_child
from harness.engines.sharing.devices import cores
from harness.errors import CampaignError

INSTALL = "pip install 'horizon-bench[ray]'"
PATIENCE = 10.0
"""Seconds until an address that does not answer is given up."""
PORT = 6379
"""Port of a Ray cluster whose address names none."""


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Yield the module `ray`, connected to a cluster, while the block runs.

    address: that of a cluster, HOST:PORT, ray://HOST:PORT or auto; None to start one on this machine.

    Raises CampaignError where Ray is not installed, or nobody answers at the address.
    """
    try:
        import ray
    except ImportError:
        raise CampaignError(f"--engine ray needs Ray, which is not installed here: {INSTALL}") from None
    if address not in (None, "auto", "local"):
        _answers(str(address))
    path = environment_of_child().get("PYTHONPATH")
    given: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "namespace": uuid.uuid4().hex}
    if path:
        given["runtime_env"] = {"env_vars": {"PYTHONPATH": path}}
    if address in (None, "local"):
        given |= {"num_cpus": cores(), "include_dashboard": False}
    else:
        given["address"] = address
    try:
        ray.init(**given)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
        words = " ".join(str(error).split())
        raise CampaignError(f"--address {address}: no cluster of Ray can be used there ({words[:200]})") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _answers(address: str) -> None:
    """Raise CampaignError where nobody answers at an address."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host:
        host, port = port, str(PORT)
    try:
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise OSError("write HOST:PORT")
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except OSError as error:
        raise CampaignError(
            f"--address {address[:80]}: nobody answers there within {PATIENCE:.0f} s ({error}); ray start --head says "
            "the address of a cluster"
        ) from None


def size(resources: Mapping[str, float], device: str, workers: int | Literal["auto"], threads: int) -> int:
    """Return the number of workers on a cluster. Raises CampaignError for more workers than devices.

    resources: the cluster's. device: the campaign's. threads: cores that a worker takes where there are no GPUs.
    """
    kind = "GPU" if device.startswith("cuda") else "CPU"
    most = int(resources.get(kind, 0) // (1 if kind == "GPU" else threads))
    if most < 1 or (workers != "auto" and workers > most):
        asked = "" if workers == "auto" else f"--workers {workers}: "
        raise CampaignError(f"{asked}this cluster of Ray has {kind}s for {most} workers (--device, --threads)")
    return most if workers == "auto" else workers
