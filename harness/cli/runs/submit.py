"""The command that sends a campaign to a cluster: `horizon submit`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console import checks
from harness.cli.console.terminal import app, command_line, console, line
from harness.errors import CampaignError

KEPT = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""Settings with which all that follows the command's own options goes to `horizon run`."""


@app.command(context_settings=KEPT)
def submit(
    arguments: Annotated[list[str], typer.Argument(metavar="[--] RUN...", help="Arguments of horizon run.")],
    slurm: Annotated[bool, typer.Option("--slurm", help="Send an array job to Slurm.")] = False,
    local: Annotated[bool, typer.Option("--local", help="Run its tasks on this machine, to try it.")] = False,
    tasks: Annotated[int, typer.Option(callback=checks.workers, help="Tasks of the array: workers.")] = 4,
    gpus: Annotated[int, typer.Option(min=0, max=64, help="GPUs of each task; it runs a worker on each.")] = 1,
    cpus: Annotated[int | None, typer.Option(callback=checks.threads, help="CPU cores of each task.")] = None,
    memory: Annotated[
        float | None, typer.Option(callback=checks.above_zero, help="Gigabytes of memory of each task.")
    ] = None,
    hours: Annotated[float, typer.Option(callback=checks.above_zero, help="Longest time of a task.")] = 24.0,
    partition: Annotated[str | None, typer.Option(help="Slurm's partition.")] = None,
    account: Annotated[str | None, typer.Option(help="Slurm's account.")] = None,
    at_once: Annotated[
        int | None, typer.Option(callback=checks.workers, help="Most tasks at the same time. Default: all.")
    ] = None,
    logs: Annotated[Path, typer.Option(help="A shared folder for scripts and logs.")] = Path("runs/submitted"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands of the tasks; send nothing.")] = False,
) -> None:
    """Send a campaign to a cluster as an array job, whose tasks share the campaign's folder."""
    from harness.engines.submission import Resources, commands
    from harness.engines.submission import submit as send

    if slurm == local:
        raise CampaignError("horizon submit needs one of --slurm (send it) and --local (try it on this machine)")
    _check(arguments)
    if dry_run:
        for command in commands(arguments, tasks):
            console.print(line(shlex.join(command)), soft_wrap=True)
        return
    resources = Resources(gpus, cpus, memory, hours, partition, account, at_once)
    jobs = send(arguments, tasks, resources, logs, "slurm" if slurm else "local")
    console.print(line(f"{len(jobs)} tasks sent: {jobs[0].job_id} to {jobs[-1].job_id}; logs are in {logs}"))
    console.print("horizon status FOLDER --watch shows how far they are; the same command goes on with what is missing")
    if local:
        failed = [job.job_id for job in jobs if job.exception() is not None]
        if failed:
            console.print(line(f"tasks that failed: {', '.join(failed)}; their logs are in {logs}"), soft_wrap=True)
            raise typer.Exit(1)


def _check(arguments: list[str]) -> None:
    """Raise an error, before anything is sent, for arguments that `horizon run` would refuse as they are typed."""
    if any(word == "--shard" or word.startswith("--shard=") for word in arguments):
        raise CampaignError("horizon submit gives each task its --shard; leave it out")
    checks.no_empty_words(["run", *arguments])
    command_line().commands["run"].make_context("run", list(arguments))
