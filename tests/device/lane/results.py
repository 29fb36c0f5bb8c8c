"""The file of a device's results, a piece at a time, and its table in docs/measured.md."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.files import write_text

BEGINS, ENDS = "<!-- measured on devices: nox -s device -->", "<!-- end -->"
"""Lines in docs/measured.md between which the tables stand."""
COLUMNS = {
    "dit_fps": ("DiT, FPS", "{:.1f}"), "stream_fps": ("with decoder", "{:.1f}"),
    "chunk_p50_ms": ("chunk p50, ms", "{:.0f}"), "chunk_p90_ms": ("p90", "{:.0f}"),
    "switch_ms": ("after a switch", "{:.0f}"),
    "share_of_bound": ("share of the bound", "{:.2f}"), "ratio": ("bytes, measured / planned", "{:.3f}"),
}  # fmt: skip
"""Columns of the table of rates: heading and format."""


class Results:
    """Results of one device, written to its file after every piece.

    Parameters
    ----------
    folder
        Where the file is.
    device
        Name of the device, from which the name of the file is made.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.device = device
        self.path = folder / f"{re.sub(r'[^a-z0-9]+', '-', device.lower()).strip('-')}.json"
        self.pieces: dict[str, Any] = {}
        if self.path.exists():
            self.pieces = json.loads(self.path.read_text(encoding="utf-8"))["pieces"]

    def __contains__(self, piece: str) -> bool:
        """Whether a piece is there and did not fail."""
        return "error" not in self.pieces.get(piece, {"error": ""})

    def keep(self, piece: str, found: Mapping[str, Any]) -> None:
        """Write the results of a piece."""
        self.pieces[piece] = dict(found)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, json.dumps({"device": self.device, "pieces": self.pieces}, indent=1) + "\n")

    def table(self) -> str:
        """Return the rates as a table of Markdown, a row for each arm and way to run."""
        rows = [f"| {self.device} | passes | " + " | ".join(heading for heading, _ in COLUMNS.values()) + " |"]
        rows.append("|---" * (2 + len(COLUMNS)) + "|")
        for name, found in self.pieces.items():
            if name.startswith(("rate/", "stream/")) and "error" not in found:
                kind, arm, compile = name.split("/")
                arm = f"`{arm}`" if kind == "rate" else f"decoder {arm}"
                cells = [form.format(found[key]) if key in found else "" for key, (_, form) in COLUMNS.items()]
                rows.append(f"| {arm} | {compile} | {' | '.join(cells)} |")
        return "\n".join(rows)


def write_tables(folder: Path, page: Path) -> None:
    """Put the tables of all devices of a folder between the two lines of a page.

    Raises ValueError for a page without these lines.
    """
    text = page.read_text(encoding="utf-8")
    before, begins, rest = text.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not (begins and ends):
        raise ValueError(f"{page} has no lines {BEGINS} and {ENDS}")
    devices = [json.loads(path.read_text(encoding="utf-8"))["device"] for path in sorted(folder.glob("*.json"))]
    tables = [Results(folder, device).table() for device in devices]
    write_text(page, f"{before}{begins}\n\n" + "".join(f"{table}\n\n" for table in tables) + f"{ends}{after}")
