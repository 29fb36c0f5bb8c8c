"""The training loop: checkpoints, a log, and a resumed run that gives the same result as an uninterrupted one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from harness.errors import CheckpointError
from harness.files import write_whole

STATE, LOG = "state.pt", "log.jsonl"


class Trains(Protocol):
    """Interface of a trainer for `run`."""

    folder: Path
    step: int

    @property
    def steps(self) -> int: ...

    @property
    def identity(self) -> dict[str, Any]:
        """Values that a checkpoint must share with the trainer to be resumed: "stage" and "seed"."""
        ...

    def advance(self) -> dict[str, float]: ...

    def state(self) -> dict[str, Any]: ...

    def load(self, state: Mapping[str, Any]) -> None: ...


def resume(trainer: Trains) -> None:
    """Resume from the checkpoint in the trainer's folder, if there is one. Raises CheckpointError if it is damaged or
    of another stage or seed."""
    kept = trainer.folder / STATE
    if not kept.exists():
        return
    try:
        state = torch.load(kept, weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{kept}: damaged ({reason}); move it away to restart this stage") from None
    if any(state.get(key) != value for key, value in trainer.identity.items()):
        raise CheckpointError(
            f"{trainer.folder}: contains a checkpoint of another stage or seed; give --out another folder"
        )
    trainer.step = state["step"]
    trainer.load(state)


def run(trainer: Trains, *, save_every: int = 50, report: Callable[[dict[str, float]], None] | None = None) -> None:
    """Train to the stage's end. Write a checkpoint every `save_every` steps, and a line of the log every step."""
    log = trainer.folder / LOG
    # Steps after the last checkpoint are repeated, so their log lines are dropped.
    lines = [line for line in read_log(trainer.folder) if line["step"] <= trainer.step]
    write_whole(log, lambda path: path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"))
    with log.open("a", encoding="utf-8") as stream:
        while trainer.step < trainer.steps:
            line = trainer.advance()
            stream.write(json.dumps(line) + "\n")
            if trainer.step % save_every == 0 or trainer.step == trainer.steps:
                stream.flush()
                state = {**trainer.identity, "step": trainer.step, **trainer.state()}
                write_whole(trainer.folder / STATE, partial(torch.save, state))
            if report:
                report(line)


def read_log(folder: Path) -> list[dict[str, float]]:
    """Return the lines of a folder's log, without one that a kill cut short."""
    lines, path = [], folder / LOG
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
