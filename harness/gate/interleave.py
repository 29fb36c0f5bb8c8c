"""Two trees of this project run one campaign on one machine at the same time, so that they differ in their code only.

Quality depends on the code only: each tree runs its quality suites alone, and a finished run of the same code is
reused. Cost also depends on the state of the machine. Therefore every repeat has one process per tree, and the two
processes measure the same cells in random order and in alternation, one chunk of each at a time, so that any
disturbance affects both. The process of a tree runs that tree's code and plans its own cells; this module matches the
cells of both and tells each process when to continue.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.errors import HorizonError, TreeError
from harness.escaping import toml_key
from harness.files import own, write_text
from harness.gate.checkouts import AS_IT_IS, Tree, environment, last_line
from harness.store.store import MANIFEST, Store

SETTLED = ("ok", "nan", "oom")
"""Statuses of cells that are not measured again; the machine may have caused the others."""
Key = tuple[str, str, str, int, int]
"""Identifies the same cell in both trees: arm, suite, scenario, latent frames, repeat."""


def quality(tree: Tree, campaign: Mapping[str, Any], out: Path, words: Sequence[str]) -> None:
    """Run a campaign with a tree's own code.

    Parameters
    ----------
    tree
        The tree.
    campaign
        Keys and values of a campaign.
    out
        The campaign's folder.
    words
        Further arguments of `horizon run`.

    Raises
    ------
    TreeError
        `horizon run` ended before all cells were in the folder; the message contains the last line of its output.
        Failed cells are in the folder and raise nothing.
    """
    asked = out / "asked.toml"
    write_text(asked, _toml(campaign))
    command = [
        sys.executable,
        *AS_IT_IS,
        "-m",
        "harness.cli",
        "run",
        str(asked.resolve()),
        "--out",
        str(out.resolve()),
        *words,
    ]
    done = subprocess.run(
        command, cwd=tree.path, env=environment(tree, out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip
    # Exit code 1 can also mean that some cells failed: then all cells are in the folder, and the gate reports them.
    store = Store(out)
    whole = (out / MANIFEST).exists() and all(store.find(cell) for cell in store.manifest()["asked"]["cells"])
    if done.returncode not in (0, 1) or not whole:
        raise TreeError(f"{tree.path}: horizon run ended with {done.returncode}: {last_line(done.stderr)}")


def cost(
    trees: Mapping[str, Tree],
    campaigns: Mapping[str, Mapping[str, Any]],
    out: Path,
    *,
    threads: int,
    together: bool = True,
) -> float:
    """Measure cost suites in each tree, in alternation, into `out`/base and `out`/head.

    Parameters
    ----------
    trees, campaigns
        The tree and the campaign of each side, "base" and "head", or of one side only.
    out
        The folder of both sides.
    threads
        CPU threads of each process.
    together
        Run the processes of both sides at the same time and alternate after each chunk; otherwise each side measures a
        whole repeat alone, as on a GPU, which must not be shared during a measurement.

    Returns
    -------
    float
        Seconds that were spent on starting processes; they do not depend on the number of cells.

    Raises
    ------
    TreeError
        A process ended early.
    """
    token, starting = _token(out), 0.0
    known: set[int] = set()
    done: set[int | None] = set()
    while not done or known - done:
        # The numbers of the repeats are known only after the first processes have planned their cells.
        repeat = min(known - done, default=None)
        order = random.Random(f"{sorted(tree.digest for tree in trees.values())} {repeat}")
        sides = sorted(trees)
        order.shuffle(sides)
        for group in [sides] if together else [[side] for side in sides]:
            with ExitStack() as living:
                began = time.monotonic()
                jobs = {
                    side: {"campaign": dict(campaigns[side]), "threads": threads, "beside": token,
                           "in turn": len(group) > 1} for side in group
                }  # fmt: skip
                workers = {side: living.enter_context(_worker(trees[side], jobs[side], out / side)) for side in group}
                plans = {side: worker.plan() for side, worker in workers.items()}
                starting += time.monotonic() - began
                known |= {key[-1] for plan in plans.values() for key in plan}
                repeat = min(known, default=None) if repeat is None else repeat
                keys = sorted({key for plan in plans.values() for key in plan if key[-1] == repeat})
                order.shuffle(keys)
                for key in keys:
                    order.shuffle(group)
                    at_work = [side for side in group if key in plans[side] and not plans[side][key][1]]
                    for side in at_work:
                        workers[side].begin(plans[side][key][0])
                    while at_work:
                        at_work = [side for side in at_work if workers[side].goes_on()]
        done.add(repeat)
    return starting


def _token(out: Path) -> str:
    """Return the unique name of the measurements in this folder, which were made in alternation."""
    file = out / "beside"
    if not file.exists():
        write_text(file, uuid.uuid4().hex)
    return file.read_text(encoding="utf-8")


class _Worker:
    """The process of a tree: it plans its cells, then measures those that it is told to."""

    def __init__(self, process: subprocess.Popen[str], tree: Tree, log: Path) -> None:
        self.process, self.tree, self.log = process, tree, log

    def plan(self) -> dict[Key, tuple[str, bool]]:
        """Return its cells: the id of each in this tree, and whether it is done."""
        found = self._answer()["cells"]
        return {
            (cell["arm"], cell["suite"], cell["scenario"], cell["frames"], cell["repeat"]): (cell["id"], cell["done"])
            for cell in found
        }

    def begin(self, cell: str) -> None:
        """Let the process prepare a cell, until it waits before the first chunk."""
        self._say(cell)
        self._answer()

    def goes_on(self) -> bool:
        """Let the process compute one chunk; return False once the cell is done."""
        self._say("go")
        return "status" not in self._answer()

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        # The exit reason is read by the next `_answer()`.
        with suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            said = last_line(self.log.read_text(encoding="utf-8", errors="replace"))
            raise TreeError(f"{self.tree.path}: its process ended with {self.process.wait()}: {said}")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise TreeError(f"{self.tree.path}: {found['error']}")
        return found


@contextmanager
def _worker(tree: Tree, job: Mapping[str, Any], folder: Path) -> Iterator[_Worker]:
    folder.mkdir(parents=True, exist_ok=True)
    variables = {**environment(tree, folder), "OMP_NUM_THREADS": str(job["threads"])}
    pipe, log = subprocess.PIPE, own(folder, "process.log")
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, *AS_IT_IS, "-m", tree.takes_turns],
            cwd=tree.path, env=variables, stdin=pipe, stdout=pipe, stderr=errors, encoding="utf-8",
        )  # fmt: skip
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps({**job, "out": str(folder.resolve())}) + "\n")
        process.stdin.flush()
        yield _Worker(process, tree, log)
    finally:
        process.kill()
        process.communicate()


def serve() -> None:
    """Run as the process of a tree: read a job, answer with its planned cells, then measure the cells whose ids come.

    Jobs and ids are read from the standard input, one per line; answers are lines of JSON on the standard output.
    """
    # Output of libraries goes to stderr, so that it cannot be mistaken for an answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(told: Mapping[str, Any]) -> None:
        answers.write(json.dumps(told) + "\n")

    try:
        _serve(answer)
    except HorizonError as error:
        answer({"error": " ".join(str(error).split())})


def _serve(answer: Callable[[Mapping[str, Any]], None]) -> None:
    import torch

    from harness.campaign.campaign import make_campaign
    from harness.campaign.expansion import cells, manifest
    from harness.engines.inline import keep
    from harness.engines.isolated import observed
    from harness.measure.meter import pin

    job = json.loads(sys.stdin.readline())
    torch.set_num_threads(job["threads"])
    asked = make_campaign(job["campaign"])
    stage = asked.stage()
    planned = {cell.id: cell for cell in cells(asked, stage) if cell.skip is None}
    store = Store(Path(job["out"]))
    store.begin({**manifest(asked, stage, list(planned.values()), store.folder.name), "beside": job["beside"]})
    settled = {each.id for each in store.cells() if each.status in SETTLED}
    plan = [
        {
            "id": cell.id, "arm": cell.arm.label, "suite": cell.suite.name, "scenario": cell.task.scenario,
            "frames": cell.task.frames, "repeat": cell.task.rows[0].seed, "done": cell.id in settled,
        }
        for cell in planned.values()
    ]  # fmt: skip
    answer({"cells": plan})
    cores = pin(job["threads"])

    def wait() -> None:
        answer({"waits": True})
        if not sys.stdin.readline():
            sys.exit(0)

    for line in iter(sys.stdin.readline, ""):
        cell = planned[line.strip()]
        wait()
        outcome = observed(
            lambda cell=cell: (cell.suite, stage, cell.arm.strategy),  # type: ignore[misc]
            cell.task,
            between_chunks=wait if job["in turn"] else None,
        )
        machine = {"threads": job["threads"], "cores": cores, "process": "of one repeat", **outcome.machine}
        keep(store, stage, cell, outcome._replace(machine=machine))
        answer({"status": outcome.status})


def _toml(campaign: Mapping[str, Any]) -> str:
    """Return plain values as TOML; strings, numbers and lists are written as in JSON."""
    plain = {key: value for key, value in campaign.items() if not isinstance(value, dict)}
    lines = [f"{key} = {_value(value)}" for key, value in plain.items() if value is not None]
    for name, knobs in (campaign.get("knobs") or {}).items():
        lines += [f"[knobs.{toml_key(name)}]", *(f"{toml_key(key)} = {_value(value)}" for key, value in knobs.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    # `json` does not escape this one control character, which TOML forbids.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


if __name__ == "__main__":
    serve()
