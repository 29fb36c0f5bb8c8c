"""A suite with cells that take a moment, registered as a plug-in, so that processes on other nodes find it too."""

from __future__ import annotations

import os
from pathlib import Path

TINY = """
from dataclasses import replace
from suites.drift import Drift

class Tiny(Drift):
    name = "tiny"

    def tasks(self, backbone, tier, seed=0):
        steady = [task for task in super().tasks(backbone, tier, seed) if task.scenario.startswith("steady")]
        return [replace(task, frames=FRAMES, rows=task.rows[row : row + 1]) for task in steady for row in range(ROWS)]
"""
ENTRY = "[horizon.suites]\ntiny = tiny_suite:Tiny\n"


def install(folder: Path, frames: int = 24, rows: int = 2) -> dict[str, str]:
    """Install the suite `tiny` in a folder, and return the environment in which processes find it."""
    about = folder / "tiny_suite-1.0.dist-info"
    about.mkdir(parents=True)
    text = TINY.replace("FRAMES", str(frames)).replace("ROWS", str(rows))
    (folder / "tiny_suite.py").write_text(text, encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-suite\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(ENTRY, encoding="utf-8")
    root = str(Path(__file__).parents[2])
    paths = [str(folder), root, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, paths))), "COLUMNS": "120"}


def records(folder: Path) -> dict[str, bytes]:
    """Return the record of every finished cell."""
    return {path.parent.name: path.read_bytes() for path in folder.glob("cells/[!.]*/record.jsonl")}
