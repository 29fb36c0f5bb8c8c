"""Price of the engines: small cells run by each, the scheduling of 10,000 cells, and a folder of 100,000.

    python -m tests.benchmarks.engines overhead [--engines inline processes ray] [--seeds 50] [--rounds 3]
    python -m tests.benchmarks.engines claims [--seeds 30]
    python -m tests.benchmarks.engines folder [--cells 100000] [--at FOLDER]

Bars: for cells of a minute, one worker of `processes` costs at most 1 % more than `inline`, and one of `ray` at most
3 %; 10,000 cells are planned, surveyed and claimed in 60 s; a folder of 100,000 cells opens in 10 s.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import registry
from harness.campaign.campaign import make_campaign
from harness.campaign.expansion import cells, manifest
from harness.engines.survey import survey
from harness.store.store import Store
from tests.benchmarks.many import make
from tests.engines.tiny import install

STRATEGIES = ("attention_sink", "full", "infinity_rope", "memrope", "sliding_window")
MINUTE = 60.0


def overhead(engines: list[str], seeds: int, rounds: int) -> None:
    """Run the same small cells by each engine with one worker, in turns, and print the seconds of a cell."""
    with tempfile.TemporaryDirectory() as home:
        environment = install(Path(home, "plugin"), frames=6, rows=1)
        chosen = [word for name in STRATEGIES for word in ("--strategy", name)]
        words = ["run", *chosen, "--suite", "tiny", "--seeds", str(seeds), "--threads", "1", "--equal-budget", "0"]
        found: dict[str, list[float]] = {engine: [] for engine in engines}
        count = 0
        for number in range(rounds):
            for engine in engines:
                folder = Path(home, f"{engine}-{number}")
                command = [sys.executable, "-m", "harness.cli", *words, "--engine", engine, "--workers", "1"]
                seconds = []
                # The second run finds every cell finished: what is left of it is the start of the engine.
                for _ in range(2):
                    began = time.monotonic()
                    subprocess.run(
                        [*command, "--out", str(folder)], env=environment, check=True, stdout=subprocess.DEVNULL
                    )
                    seconds.append(time.monotonic() - began)
                count = len(list(folder.glob("cells/[!.]*/record.jsonl")))
                found[engine].append((seconds[0] - seconds[1]) / count)
                print(f"{engine}: {count} cells, {seconds[0]:.1f} s, of which start {seconds[1]:.1f} s", flush=True)
        middle = {engine: statistics.median(each) for engine, each in found.items()}
        for engine, each in middle.items():
            more = each - middle[engines[0]]
            print(f"{engine}: {1000 * each:.1f} ms a cell, {more / MINUTE:+.3%} of a cell of a minute", flush=True)


def claims(seeds: int) -> None:
    """Plan, survey and claim the cells of a large campaign, and print the seconds of each."""
    backbone = registry.backbone("pocket")
    asked = make_campaign({"seeds": seeds, "tier": "full", "suites": ["drift", "interactive", "fairness"]})
    with tempfile.TemporaryDirectory() as home:
        store, marks = Store(Path(home)), [time.monotonic()]
        planned = cells(asked, backbone)
        store.begin(manifest(asked, backbone, planned, "claims"))
        marks.append(time.monotonic())
        due = [look for look in survey(store, planned, (), False, "claims") if look.due]
        marks.append(time.monotonic())
        for look in due:
            with store.claim(look.cell.id) as mine:
                assert mine
        marks.append(time.monotonic())
    planning, looking, claiming = (after - before for before, after in itertools.pairwise(marks))
    every = 1e4 / len(planned) * (marks[-1] - marks[0])
    print(f"{len(planned):,} cells: planned in {planning:.1f} s, surveyed in {looking:.1f} s, ", end="")
    print(f"claimed in {claiming:.1f} s; {every:.1f} s for 10,000")


def folder(count: int, at: Path) -> None:
    """Make a folder of so many cells, and print the seconds in which it is opened and counted."""
    if not (at / "manifest.json").exists():
        make(at, count, frames=12)
    began = time.monotonic()
    found = sum(1 for _ in Store(at).cells())
    opened = time.monotonic() - began
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "harness.cli", "status", str(at)], check=True, stdout=subprocess.DEVNULL)
    print(f"{found:,} cells: opened in {opened:.1f} s, horizon status in {time.monotonic() - began:.1f} s")


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("overhead")
    part.add_argument("--engines", nargs="+", default=["inline", "processes"])
    part.add_argument("--seeds", type=int, default=50)
    part.add_argument("--rounds", type=int, default=3)
    parts.add_parser("claims").add_argument("--seeds", type=int, default=30)
    part = parts.add_parser("folder")
    part.add_argument("--cells", type=int, default=100_000)
    part.add_argument("--at", type=Path, default=Path("runs/hundred-thousand"))
    asked = parser.parse_args()
    if asked.part == "overhead":
        overhead(asked.engines, asked.seeds, asked.rounds)
    elif asked.part == "claims":
        claims(asked.seeds)
    else:
        folder(asked.cells, asked.at)


if __name__ == "__main__":
    main()
