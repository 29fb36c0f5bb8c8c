"""A training under way: checkpoints, a log, and going on after a kill with the same result."""

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
    """What `run` needs of a training under way."""

    folder: Path
    step: int

    @property
    def steps(self) -> int: ...

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must share to be gone on from: "stage" and "seed"."""
        ...

    def advance(self) -> dict[str, float]: ...

    def state(self) -> dict[str, Any]: ...

    def load(self, state: Mapping[str, Any]) -> None: ...


def resume(trainer: Trains) -> None:
    """Go on from the checkpoint in the trainer's folder, if there is one. Raises CheckpointError if it is damaged or of
    another stage or seed."""
    kept = trainer.folder / STATE
    if not kept.exists():
        return
    try:
        state = torch.load(kept, weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{kept}: damaged ({reason}); move it away to begin this stage anew") from None
    if any(state.get(key) != value for key, value in trainer.identity.items()):
        raise CheckpointError(
            f"{trainer.folder}: a checkpoint of another stage or seed lies there; give --out another folder"
        )
    trainer.step = state["step"]
    trainer.load(state)


def run(trainer: Trains, *, save_every: int = 50, report: Callable[[dict[str, float]], None] | None = None) -> None:
    """Train to the stage's end; write a checkpoint every so many steps, and a line of the log every step."""
    log = trainer.folder / LOG
    # Steps after the last checkpoint are taken again.
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
    """The lines of a folder's log, without one that a kill cut short."""
    lines, path = [], folder / LOG
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
