"""Kill a campaign with SIGKILL at random moments, start it again each time, and compare with one left in peace.

By hand, or with `nox -s faults`: python -m tests.faults.kills [--kills 200] [--strategy NAME ...] [--seed N]
[--no-locks]

Every round runs with one, two or three processes in turn. What is killed is the process that was asked, or one of its
workers; then the campaign goes on for a while with the others. Leave the checkout alone meanwhile: tables tell of cells
that began in another environment.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil

TIMES = ("chunk_ms",)
"""Columns that differ from run to run."""
GONE = 10.0
"""Seconds after which workers whose parent was killed must be gone."""


NO_LOCKS = """
import errno, fcntl, os
def refused(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
fcntl.flock = refused
"""
"""Makes a process believe that no file system has locks; workers import it too."""


def command(folder: Path, strategies: list[str], workers: int = 1) -> list[str]:
    chosen = [word for name in strategies for word in ("--strategy", name)]
    options = ["--suite", "drift", "--tier", "gate", "--save-every", "1", "--threads", "1", "--out", str(folder)]
    return [sys.executable, "-m", "harness.cli", "run", *chosen, *options, "--workers", str(workers)]


def cells_done(folder: Path) -> dict[str, bytes]:
    """Return the records of finished cells."""
    found = {}
    for path in folder.glob("cells/[!.]*/cell.json"):
        if json.loads(path.read_text(encoding="utf-8"))["status"] == "ok":
            found[path.parent.name] = (path.parent / "record.jsonl").read_bytes()
    return found


def compared(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables of a folder's report by name, without times and the folder's own name."""
    subprocess.run([sys.executable, "-m", "harness.cli", "compare", str(folder)], check=True, stdout=subprocess.DEVNULL)
    table = pd.read_csv(folder / "table.csv")
    return {
        "table.csv": table.drop(columns=[name for name in TIMES if name in table]),
        "records.parquet": pd.read_parquet(folder / "records.parquet").drop(columns="campaign"),
    }


def differences(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> list[str]:
    """Return where two folders' tables differ: the table, the column and its first two values."""
    found = []
    for name, table in one.items():
        if list(table) != list(other[name]) or len(table) != len(other[name]):
            found.append(f"{name}: {table.shape} with {list(table)} and {other[name].shape} with {list(other[name])}")
            continue
        for column in table:
            ours, theirs = (each[column].astype(str) for each in (table, other[name]))
            if not ours.equals(theirs):
                place = (ours != theirs).idxmax()
                found.append(f"{name}, {column}, row {place}: {ours[place]} and {theirs[place]}")
    return found


def kill(process: subprocess.Popen[bytes], rng: random.Random) -> str:
    """Kill the process or one of its workers; says which."""
    workers = psutil.Process(process.pid).children(recursive=True)
    if workers and rng.random() < 0.5:
        rng.choice(workers).kill()
        return "a worker"
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=GONE)
    if alive:
        raise SystemExit(f"{len(alive)} workers compute on {GONE:g} s after their parent was killed")
    return f"the process of {1 + len(workers)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--strategy", nargs="*", default=["sliding_window", "memrope"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--longest", type=float, default=9.0, help="seconds until a kill, at most; more on a busy machine"
    )
    parser.add_argument("--no-locks", action="store_true", help="as on a file system that refuses locks")
    asked = parser.parse_args()
    rng, home = random.Random(asked.seed), Path(tempfile.mkdtemp(prefix="kills-"))
    if asked.no_locks:
        (home / "path").mkdir()
        (home / "path" / "sitecustomize.py").write_text(NO_LOCKS, encoding="utf-8")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(home / "path"), os.environ.get("PYTHONPATH", "")])
    peace, war = home / "peace", home / "war"
    began = time.monotonic()
    subprocess.run(command(peace, asked.strategy), check=True, stdout=subprocess.DEVNULL)
    whole, kinds, finished = cells_done(peace), Counter[str](), 0
    print(f"in peace: {time.monotonic() - began:.0f} s, {len(whole)} cells", flush=True)
    before: dict[str, bytes] = {}
    while kinds.total() < asked.kills:
        workers = 1 + (kinds.total() + finished) % 3
        process = subprocess.Popen(command(war, asked.strategy, workers), stdout=subprocess.DEVNULL)
        while process.poll() is None:
            try:
                # Starting takes a few seconds of these, so some kills hit the start as well.
                process.wait(rng.uniform(0.5, asked.longest))
            except subprocess.TimeoutExpired:
                kinds[kill(process, rng)] += 1
                done = cells_done(war)
                lost = [cell for cell in before if done.get(cell) != before[cell]]
                wrong = [cell for cell in done if done[cell] != whole[cell]]
                if lost or wrong:
                    sys.exit(f"after {kinds.total()} kills: {len(lost)} cells lost or changed, {len(wrong)} wrong")
                before = done
        if process.returncode == 0:
            finished += 1
            shutil.rmtree(war)
            before = {}
    subprocess.run(command(war, asked.strategy), check=True, stdout=subprocess.DEVNULL)
    found = differences(compared(peace), compared(war))
    told = ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items()))
    print(f"{kinds.total()} kills ({told}); {finished} campaigns finished between them", flush=True)
    print(f"tables {'DIFFER' if found else 'equal byte for byte'}; {time.monotonic() - began:.0f} s")
    if found:
        print("\n".join(found))
        sys.exit(f"both folders are kept in {home}")
    shutil.rmtree(home)


if __name__ == "__main__":
    main()
