"""Which of several equal processes this one is: by `--shard K/N`, or by the variables that srun, torchrun and array
jobs set. Beside `harness.errors`, only the standard library is imported here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import CampaignError

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Share:
    """This process among those that run the same command.

    Parameters
    ----------
    index, count
        Its number, from 0, and how many there are.
    local
        Its number on this machine, from 0, where there is a process for each device; None where nothing says so.
    job
        A name that all of them share; None where there is none.
    """

    index: int = 0
    count: int = 1
    local: int | None = None
    job: str | None = None

    @property
    def text(self) -> str:
        """The share in the form K/N, with K from 1."""
        return f"{self.index + 1}/{self.count}"


def share(shard: str | None = None, variables: Mapping[str, str] = os.environ) -> Share:
    """Return the share of this process.

    Parameters
    ----------
    shard
        "K/N", with K from 1; None to take the share from the environment.
    variables
        The environment variables: RANK, WORLD_SIZE and LOCAL_RANK of torchrun; SLURM_PROCID, SLURM_NTASKS and
        SLURM_LOCALID of srun; SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT of an array job, each task of which may
        run several processes by srun.

    Raises
    ------
    CampaignError
        A text of another form, or a number outside its range.
    """
    index, count, local, job = 0, 1, None, None
    if "RANK" in variables and "WORLD_SIZE" in variables:
        index, count = _ranked("RANK", "WORLD_SIZE", variables)
        local = _number("LOCAL_RANK", variables, 0)
        run = variables.get("TORCHELASTIC_RUN_ID", "none")
        job = f"torchrun-{run}-{variables.get('MASTER_ADDR', '')}-{variables.get('MASTER_PORT', '')}"
    elif "SLURM_PROCID" in variables:
        index, count = _ranked("SLURM_PROCID", "SLURM_NTASKS", variables)
        local = _number("SLURM_LOCALID", variables, 0) if count > 1 else None
    if "SLURM_JOB_ID" in variables and job is None:
        step = variables.get("SLURM_STEP_ID", "0")
        job = f"slurm-{variables.get('SLURM_ARRAY_JOB_ID') or variables['SLURM_JOB_ID']}-{step}"
    if "SLURM_ARRAY_TASK_ID" in variables:
        first, step_width = (_number(f"SLURM_ARRAY_TASK_{key}", variables, usual) for key, usual in _ARRAY)
        number = (_number("SLURM_ARRAY_TASK_ID", variables, 0) - first) // max(step_width, 1)
        tasks = _number("SLURM_ARRAY_TASK_COUNT", variables, 1)
        if not 0 <= number < tasks:
            raise CampaignError(f"SLURM_ARRAY_TASK_ID: number {number} of {tasks} tasks; allowed: 0 to {tasks - 1}")
        index, count = number * count + index, tasks * count
    if shard is not None:
        number_of, slash, parts = shard.partition("/")
        digits = all(part.isascii() and part.isdecimal() for part in (number_of, parts)) and len(shard) <= 20
        if not (slash and digits and 1 <= int(number_of) <= int(parts)):
            raise CampaignError(f"--shard {shard[:20]}: write K/N, one of N parts, K from 1 to N, for instance 1/4")
        index, count = int(number_of) - 1, int(parts)
    return Share(index, count, local, job)


_ARRAY = (("MIN", 0), ("STEP", 1))


def own_device(local: int | None, devices: int, variables: Mapping[str, str] = os.environ) -> str | None:
    """Return the one GPU that a process of several on its machine uses, as `CUDA_VISIBLE_DEVICES` names it.

    Parameters
    ----------
    local
        The process' number on its machine.
    devices
        Number of GPUs that it can see.
    variables
        The environment variables.

    Returns
    -------
    str
        None where the process has no number, or sees one GPU at most, as where srun gives each task its own.

    Raises
    ------
    CampaignError
        There are more processes on the machine than GPUs.
    """
    if local is None or devices <= 1:
        return None
    listed = variables.get(VISIBLE)
    names = [name.strip() for name in listed.split(",")] if listed else [str(number) for number in range(devices)]
    if local >= min(devices, len(names)):
        raise CampaignError(
            f"process {local + 1} of this machine has no device of its own: {devices} can be seen here "
            f"({', '.join(names)}); start one process a device"
        )
    return names[local]


def _ranked(rank: str, size: str, variables: Mapping[str, str]) -> tuple[int, int]:
    index, count = _number(rank, variables, 0), _number(size, variables, 1)
    if not 0 <= index < count:
        raise CampaignError(f"{rank}={index} is outside its range; {size}={count} allows 0 to {count - 1}")
    return index, count


def _number(name: str, variables: Mapping[str, str], usual: int) -> int:
    text = variables.get(name, "").strip()
    if not text:
        return usual
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise CampaignError(f"{name}={text[:20]!r} is not a number; the job's launcher sets it")
    return int(text)
