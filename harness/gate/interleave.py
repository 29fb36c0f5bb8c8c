"""Two trees of this project under one campaign, on one machine at one time, so that nothing but their code differs.

Quality is a matter of code alone: each tree runs it by itself, and what a code has shown once is not run again. What it
costs is a matter of the moment too: for every repeat each tree has a process of its own, and the two measure the same
thing, cell by cell in an order by chance, a chunk of one and a chunk of the other in turn: what the machine does
meanwhile falls on both. A tree's process runs that tree's own code and plans its own cells; here they are only matched
and told when.
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
"""Statuses of cells that are not measured again: others may have been the machine's fault."""
Key = tuple[str, str, str, int, int]
"""A cell in both trees: arm, suite, scenario, latent frames, repeat."""


def quality(tree: Tree, campaign: Mapping[str, Any], out: Path, words: Sequence[str]) -> None:
    """Run a campaign with a tree's own code into a folder; `words` go to its `horizon run`.

    Raises TreeError with the last line that it said, if it failed as a whole; cells that failed are in the folder.
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
    # 1 is also what it ends with if some cells failed: then all of them are there, and the gate tells which.
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
    """Measure suites of cost in each tree, in turn, into `out`/base and `out`/head.

    trees, campaigns: by side, "base" and "head", or of one alone. together: processes of both sides live at the same
    time; else each measures its repeat whole, as a device needs that no one else may use meanwhile.
    Returns the seconds in which processes were started, however little they then had to measure. Raises TreeError for a
    process that ends.
    """
    token, starting = _token(out), 0.0
    known: set[int] = set()
    done: set[int | None] = set()
    while not done or known - done:
        # Which repeats there are the processes say.
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
    """Names what is measured in turn here, and nowhere else."""
    file = out / "beside"
    if not file.exists():
        write_text(file, uuid.uuid4().hex)
    return file.read_text(encoding="utf-8")


class _Worker:
    """A tree's process: it plans, then measures the cells that it is told to."""

    def __init__(self, process: subprocess.Popen[str], tree: Tree, log: Path) -> None:
        self.process, self.tree, self.log = process, tree, log

    def plan(self) -> dict[Key, tuple[str, bool]]:
        """Its cells: their names there, and whether they are done."""
        found = self._answer()["cells"]
        return {
            (cell["arm"], cell["suite"], cell["scenario"], cell["frames"], cell["repeat"]): (cell["id"], cell["done"])
            for cell in found
        }

    def begin(self, cell: str) -> None:
        """Let it prepare a cell, up to where its first chunk is to come."""
        self._say(cell)
        self._answer()

    def goes_on(self) -> bool:
        """Give it its turn: one chunk. False once the cell is done."""
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
    """A tree's process: reads what to plan, says its cells, then measures those whose names it reads."""
    # Whatever a library prints must not be taken for an answer.
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
    """Plain values as TOML: JSON writes strings, numbers and lists alike."""
    plain = {key: value for key, value in campaign.items() if not isinstance(value, dict)}
    lines = [f"{key} = {_value(value)}" for key, value in plain.items() if value is not None]
    for name, knobs in (campaign.get("knobs") or {}).items():
        lines += [f"[knobs.{toml_key(name)}]", *(f"{toml_key(key)} = {_value(value)}" for key, value in knobs.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    # JSON leaves this one control character as it is, which TOML does not read.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


if __name__ == "__main__":
    serve()
