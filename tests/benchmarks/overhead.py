"""Where the time of a campaign goes: rollouts, decoding and metrics, and the harness itself (bar: 2 %).

python -m tests.benchmarks.overhead [STRATEGY ...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from harness import registry
from harness.campaign.campaign import make_campaign
from harness.campaign.expansion import cells, manifest
from harness.cli.console.ticker import Ticker
from harness.engines.inline import run
from harness.store.store import Store


def main() -> None:
    backbone = registry.backbone("pocket")
    with tempfile.TemporaryDirectory() as home:
        began = time.perf_counter()
        asked = make_campaign({"strategies": tuple(sys.argv[1:] or ("sliding_window", "memrope"))})
        planned, store = cells(asked, backbone), Store(Path(home))
        store.begin(manifest(asked, backbone, planned, Path(home).name))
        planning = time.perf_counter() - began
        with Ticker(planned) as ticker:
            run(store, backbone, planned, report=ticker.step, done=ticker.done)
        whole = time.perf_counter() - began
        spent = [cell.about["cost"]["seconds"] for cell in store.cells() if cell.status == "ok"]
        parts = {name: sum(each[name] for each in spent) for name in ("rollout", "suite", "saving")}
    own = whole - parts["rollout"] - parts["suite"]
    print(f"{whole:.1f} s: rollouts {parts['rollout']:.1f} s, decoding and metrics {parts['suite']:.1f} s")
    print(f"harness {own:.2f} s = {own / whole:.2%}: planning {planning:.2f} s, states {parts['saving']:.2f} s")


if __name__ == "__main__":
    main()
