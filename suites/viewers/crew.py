"""Where a viewer runs: on one GPU of several, with a share of the films, or as a process on each GPU.

Beside `harness.shards`, only the standard library is imported here, and torch to count GPUs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from harness.errors import CampaignError
from harness.shards import VISIBLE, own_device, share


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options --device, --shard and --workers."""
    parser.add_argument("--device", default="cpu", type=_device, help="cpu, cuda, or one GPU: cuda:1")
    parser.add_argument(
        "--shard", metavar="K/N", help="one of N parts of the films; default: as srun, torchrun or an array job says"
    )
    parser.add_argument("--workers", default="1", type=_workers, help="processes, or auto: one a visible GPU")


def placed(asked: argparse.Namespace) -> None:
    """Pin this process to its GPU, and set `device` ("cpu" or "cuda") and `shard` (K/N) of the options.

    Records name the kind of device only, so that a film that was measured on one GPU is not measured again on another.

    Raises
    ------
    CampaignError
        A shard outside its range, a GPU that does not exist, or more processes than GPUs.
    """
    here = share(asked.shard)
    kind, _, index = asked.device.partition(":")
    if kind == "cuda":
        name = own_device(int(index) if index else here.local, _gpus())
        if index and name is None and int(index) > 0:
            raise CampaignError(f"--device {asked.device}: {_gpus()} GPUs can be seen here")
        if name is not None:
            os.environ[VISIBLE] = name
    asked.device, asked.shard = kind, here.text


def spread(asked: argparse.Namespace, module: str, words: Sequence[str]) -> int | None:
    """Run a process for each worker, each with its GPU and a part of the films.

    Parameters
    ----------
    asked
        The options.
    module
        The module that is the command.
    words
        Its arguments.

    Returns
    -------
    int
        The greatest exit code of the processes; None where this process is the only one.

    Raises
    ------
    CampaignError
        There are more workers than GPUs, or a shard is given too.
    """
    gpus = _gpus() if asked.device == "cuda" else 1
    count = max(gpus, 1) if asked.workers == "auto" else int(asked.workers)
    if count == 1:
        return None
    if asked.shard is not None:
        raise CampaignError(f"--workers {count}: leave --shard out; each worker gets its part")
    if asked.device == "cuda" and count > gpus:
        raise CampaignError(f"--workers {count}: {gpus} GPUs can be seen here; give --workers {max(gpus, 1)} or fewer")
    started = []
    for number in range(count):
        name = own_device(number, gpus) if asked.device == "cuda" else None
        command = [sys.executable, "-m", module, *words, "--workers", "1", "--shard", f"{number + 1}/{count}"]
        started.append(subprocess.Popen(command, env=os.environ | ({VISIBLE: name} if name else {})))
    return max(abs(process.wait()) for process in started)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _device(text: str) -> str:
    kind, colon, index = text.partition(":")
    if kind not in ("cpu", "cuda") or (colon and (kind == "cpu" or not index.isdecimal())):
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from cpu, cuda, cuda:N)")
    return text


def _workers(text: str) -> str:
    if text != "auto" and not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= 256):
        raise argparse.ArgumentTypeError(f"{text!r} is neither 'auto' nor a number from 1 to 256")
    return text
