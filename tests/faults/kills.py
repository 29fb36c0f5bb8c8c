"""Kill a campaign with SIGKILL at random moments, start it again each time, and compare with one left in peace.

By hand, or with `nox -s faults`: python -m tests.faults.kills [--kills 50] [--strategy NAME ...]
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

TIMES = ("chunk_ms",)
"""Columns that differ from run to run."""


def command(folder: Path, strategies: list[str]) -> list[str]:
    chosen = [word for name in strategies for word in ("--strategy", name)]
    options = ["--suite", "drift", "--save-every", "1", "--threads", "1", "--out", str(folder)]
    return [sys.executable, "-m", "harness.cli", "run", *chosen, *options]


def frames_done(folder: Path) -> int:
    """Latent frames of rollouts that finished cells hold."""
    abouts = [json.loads(path.read_text()) for path in folder.glob("cells/*/cell.json")]
    return sum(about["task"]["frames"] * len(about["task"]["rows"]) for about in abouts if about["status"] == "ok")


def compared(folder: Path) -> tuple[str, bytes]:
    subprocess.run([sys.executable, "-m", "harness.cli", "compare", str(folder)], check=True, stdout=subprocess.DEVNULL)
    table = pd.read_csv(folder / "table.csv").drop(columns=list(TIMES))
    return table.to_csv(index=False), pd.read_parquet(folder / "records.parquet").drop(
        columns="campaign"
    ).to_csv().encode()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--strategy", nargs="*", default=["sliding_window", "memrope"])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, home = random.Random(asked.seed), Path(tempfile.mkdtemp(prefix="kills-"))
    peace, war = home / "peace", home / "war"
    began = time.monotonic()
    subprocess.run(command(peace, asked.strategy), check=True, stdout=subprocess.DEVNULL)
    print(f"in peace: {time.monotonic() - began:.0f} s, {frames_done(peace):,} latent frames")
    killed = finished = 0
    while killed < asked.kills:
        process = subprocess.Popen(command(war, asked.strategy), stdout=subprocess.DEVNULL)
        try:
            # Starting takes a few seconds of these, so some kills hit the start as well.
            process.wait(rng.uniform(0.5, 9))
            finished += 1
            shutil.rmtree(war)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
    subprocess.run(command(war, asked.strategy), check=True, stdout=subprocess.DEVNULL)
    same = compared(peace) == compared(war)
    print(f"{killed} kills, {finished} campaigns finished between them; tables {'equal' if same else 'DIFFER'}")
    shutil.rmtree(home)
    sys.exit(not same)


if __name__ == "__main__":
    main()
