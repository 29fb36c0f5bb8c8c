"""Array jobs of Slurm, made and sent by submitit: each task runs the same command and begins with another part of it.

submitit is imported only here, inside of functions.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.engines.children import environment_of_child
from harness.errors import CampaignError

INSTALL = "pip install 'horizon-bench[slurm]'"
Cluster = Literal["slurm", "local", "debug"]


@dataclass(frozen=True)
class Resources:
    """What each task of an array job needs.

    Parameters
    ----------
    gpus, cpus, memory_gb
        GPUs, CPU cores and gigabytes of memory; None for the cluster's usual.
    hours
        Hours after which the system ends the task; the same command goes on.
    partition, account
        Names that the cluster may require.
    at_once
        Most tasks that run at the same time.
    """

    gpus: int = 1
    cpus: int | None = None
    memory_gb: float | None = None
    hours: float = 24.0
    partition: str | None = None
    account: str | None = None
    at_once: int | None = None

    def parameters(self, cluster: Cluster) -> dict[str, Any]:
        """Return the parameters for submitit."""
        found: dict[str, Any] = {"name": "horizon", "timeout_min": max(1, round(60 * self.hours)), "tasks_per_node": 1}
        if cluster == "slurm":
            found |= {
                "gpus_per_node": self.gpus or None, "cpus_per_task": self.cpus, "mem_gb": self.memory_gb,
                "slurm_partition": self.partition, "slurm_account": self.account,
                "slurm_array_parallelism": self.at_once,
            }  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}


def commands(arguments: Sequence[str], tasks: int) -> list[list[str]]:
    """Return the command of each task of an array job: `horizon run` with its arguments, and a part of the cells."""
    path = environment_of_child().get("PYTHONPATH")
    start = [*(["env", f"PYTHONPATH={path}"] if path else []), sys.executable, "-m", "harness.cli", "run", *arguments]
    return [[*start, "--shard", f"{number}/{tasks}"] for number in range(1, tasks + 1)]


def submit(
    arguments: Sequence[str], tasks: int, resources: Resources, folder: Path, cluster: Cluster = "slurm"
) -> list[Any]:
    """Send an array job, and return submitit's jobs, one a task.

    Parameters
    ----------
    arguments
        Arguments of `horizon run`.
    tasks
        Number of tasks.
    resources
        What each of them needs.
    folder
        A folder for scripts and logs, which all machines share.
    cluster
        "slurm"; "local" for processes of this machine, "debug" for this process, to try it.

    Raises
    ------
    CampaignError
        submitit is not installed, or there is no Slurm here.
    """
    try:
        import submitit
    except ImportError:
        raise CampaignError(f"horizon submit needs submitit, which is not installed here: {INSTALL}") from None
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**resources.parameters(cluster))
        with executor.batch():
            jobs = [
                executor.submit(subprocess.check_call, command, cwd=os.getcwd())
                for command in commands(arguments, tasks)
            ]
    except (RuntimeError, OSError) as error:
        words = " ".join(str(error).split())
        raise CampaignError(f"no job can be sent from here: {words[:200]}; run it where sbatch is") from None
    return jobs
