"""Valid files that tests damage: a campaign's folder, a policy, films and viewers' results."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from harness import registry
from harness.films.view_files import Part, View, add
from harness.store.store import Store
from harness.suite import Sample
from suites.observers.film import edges

ARMS = ("memrope", "sliding_window")
ENVIRONMENT = {
    "machine": "here", "cpu": "a cpu", "cores": 2, "threads": 1, "gpu": None, "device": "cpu", "attention": "sdpa",
    "python": "3.11", "packages": {"torch": "2.13.0"}, "code": {},
}  # fmt: skip
FRAMES = 24
CELL = f"{ARMS[0]}-0"
"""The cell that is damaged."""


def campaign(folder: Path, numbers: Iterable[int] = range(2)) -> Path:
    """Write a campaign of two strategies under two prompts, with a film a cell."""
    arms = [
        {"label": name, "strategy": name, "knobs": registry.strategy(name).knobs(), "tables": ["as published"],
         "weights": None}
        for name in ARMS
    ]  # fmt: skip
    cells = {f"{name}-{number}": (name, number) for number in numbers for name in ARMS}
    store = Store(folder)
    store.begin({
        "name": "made",
        "asked": {
            "backbone": "self-forcing", "weights": "w", "dtype": "float32", "tier": "quick", "seed": 0,
            "suite_versions": {"drift": "1"}, "arms": arms, "cells": list(cells),
        },
        "environment": ENVIRONMENT,
        "plan": {cell: [name, "drift", "steady", FRAMES, 1] for cell, (name, _) in cells.items()},
    })  # fmt: skip
    for cell, (name, number) in cells.items():
        workspace = store.workspace(cell)
        workspace.mkdir(parents=True)
        (workspace / "0.mp4").write_bytes(b"a film")
        (workspace / "windows.json").write_text(json.dumps(list(edges(FRAMES))), encoding="utf-8")
        samples = [
            Sample(0, metric, int(end), 0.5 + 0.01 * number)
            for metric in ("psnr", "ssim")
            for end in edges(FRAMES)
        ]  # fmt: skip
        about = {
            "backbone": "self-forcing", "strategy": name, "arm": name, "knobs": registry.strategy(name).knobs(),
            "knobs_set": {}, "knobs_in_full": registry.strategy(name).knobs(), "code": None, "weights": None,
            "suite": "drift", "suite_version": "1", "skipped_metrics": {}, "seconds_per_latent_frame": 0.25,
            "pictures_per_second": 16.0, "pictures_per_latent": 4, "status": "ok", "reason": "", "run": "r",
            "seconds": 1.0, "cost": {"chunk_ms": 20.0, "cache_bytes": 300_000, "seconds": {}, "switches": []},
            "task": {"scenario": "steady", "frames": FRAMES, "given": 0, "forced": False, "boundaries": ["smooth"],
                     "rows": [{"seed": number, "script": [[0, f"prompt {number}"]]}]},
        }  # fmt: skip
        store.finish(cell, about, samples, {"strip": np.zeros((1, 1, 3, 8, 8), np.uint8), "frames": np.array([0])})
    for path in sorted((folder / "flight").iterdir()):
        if path.name.endswith(".lock"):
            path.unlink()
    return folder


def with_view(folder: Path) -> Path:
    """Write a campaign with a viewer's results for one film."""
    campaign(folder)
    sha256 = json.loads((folder / "cells" / CELL / "cell.json").read_text(encoding="utf-8"))["files"]["0.mp4"]
    samples = tuple((int(end), 0.5) for end in edges(FRAMES))
    add(folder, "perceptual", View(f"{CELL}-0", sha256), "lpips", Part(samples), {"model": "alex"})
    return folder


VIEW = f"views/perceptual/{CELL}-0.json"


def edited(name: str, change: Callable[[Any], object], make: Callable[[Path], object] = campaign) -> Any:
    """Write a campaign into the folder `x`, and change one of its JSON files in place."""

    def setup(folder: Path) -> None:
        make(folder / "x")
        path = folder / "x" / name
        found = json.loads(path.read_text(encoding="utf-8"))
        change(found)
        path.write_text(json.dumps(found), encoding="utf-8")

    return setup


def replaced(name: str, content: bytes | None, make: Callable[[Path], object] = campaign) -> Any:
    """Write a campaign into the folder `x`, and replace the contents of one file; None removes the file."""

    def setup(folder: Path) -> None:
        make(folder / "x")
        path = folder / "x" / name
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return setup


def piped(name: str, make: Callable[[Path], object] = campaign) -> Any:
    """Write a campaign into the folder `x`, and replace one file by a pipe into which nothing is written."""

    def setup(folder: Path) -> None:
        replaced(name, None, make)(folder)
        os.mkfifo(folder / "x" / name)

    return setup


def recorded(text: bytes) -> Any:
    """Write a campaign into the folder `x`, with another record and its checksum in one cell."""

    def setup(folder: Path) -> None:
        campaign(folder / "x")
        place = folder / "x" / "cells" / CELL
        (place / "record.jsonl").write_bytes(text)
        about = json.loads((place / "cell.json").read_text(encoding="utf-8"))
        about["record_sha256"] = hashlib.sha256(text).hexdigest()
        (place / "cell.json").write_text(json.dumps(about), encoding="utf-8")

    return setup


def file(name: str, content: str | bytes) -> Any:
    """One file in an empty folder."""

    def setup(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)

    return setup


def pipe(name: str) -> Any:
    """Make a pipe into which nothing is written, in an empty folder."""
    return lambda folder: os.mkfifo(folder / name)
