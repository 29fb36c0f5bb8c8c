"""Campaigns' folders: manifests, cells, records, pictures, windows and views, and what is merged."""

from __future__ import annotations

import io
import pickle
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.bad_inputs.checker import Bad
from tests.bad_inputs.made import CELL, VIEW, campaign, edited, piped, recorded, replaced, with_view

MANIFEST, ABOUT, RECORD = "manifest.json", f"cells/{CELL}/cell.json", f"cells/{CELL}/record.jsonl"
PICTURES, WINDOWS = f"cells/{CELL}/pictures.npz", f"cells/{CELL}/files/windows.json"
KEPT = "finished cells are kept"
AWAY = "move .* away and run the same command again"
DEEP, DIGITS = b"[" * 100_000, b"[" + b"9" * 5000 + b"]"
LINE = b'[0, "psnr", 3, 0.5]\n'


def put(*place: str, value: Any = ...) -> Callable[[Any], None]:
    """Set a value inside of nested data, or remove it if none is given."""

    def change(found: Any) -> None:
        for key in place[:-1]:
            found = found[int(key) if isinstance(found, list) else key]
        key = int(place[-1]) if isinstance(found, list) else place[-1]
        if value is ...:
            del found[key]
        else:
            found[key] = value

    return change


def manifest(name: str, *place: str, words: str, value: Any = ...) -> Bad:
    """Return a manifest with one changed value."""
    return Bad(f"a manifest with {name}", ("status", "x"), f"manifest.json: damaged .*{words}.*{KEPT}",
               edited(MANIFEST, put(*place, value=value)))  # fmt: skip


def cell(name: str, *place: str, words: str, value: Any = ..., command: tuple[str, ...] = ("compare", "x")) -> Bad:
    """Return a cell with one changed value."""
    return Bad(f"a cell with {name}", command, f"cell.json: damaged .*{words}.*{AWAY}",
               edited(ABOUT, put(*place, value=value)))  # fmt: skip


def record(name: str, text: bytes, words: str) -> Bad:
    """Return a record that fits its checksum."""
    return Bad(f"a record with {name}", ("compare", "x"), f"record.jsonl: not a record .*{words}.*{AWAY}",
               recorded(text))  # fmt: skip


def view(name: str, *place: str, words: str, value: Any = ...) -> Bad:
    """Return a viewer's results with one changed value."""
    return Bad(f"a view with {name}", ("compare", "x"), f"{CELL}-0.json: not a view .*{words}.*look again",
               edited(VIEW, put(*place, value=value), with_view))  # fmt: skip


def _pickled() -> bytes:
    """Pictures that run code when they are read."""
    data = io.BytesIO()
    np.savez(data, strip=np.array([print], dtype=object), allow_pickle=True)
    return data.getvalue()


def _to_merge(damage: Callable[..., Any]) -> Callable[..., None]:
    """Two folders of one campaign, `x` damaged and `y` good with other cells."""

    def setup(here):
        damage(here)
        campaign(here / "y", [2])

    return setup


def _linked(here):
    replaced(WINDOWS, None)(here)
    (here / "x" / WINDOWS).symlink_to("/etc/passwd")


def _conflict(here):
    campaign(here / "x")
    shutil.copytree(here / "x", here / "y")
    shutil.rmtree(here / "x")
    recorded(LINE)(here)


PART = ("parts", "lpips")
MERGE = ("merge", "z", "y", "x")

ROWS = [
    Bad("no folder", ("compare", "x"), "x/manifest.json: no such file; no campaign there"),
    Bad("no folder, status", ("status", "x"), "no campaign there"),
    Bad("no folder, films", ("films", "x"), "no campaign there"),
    Bad("an empty manifest", ("compare", "x"), f"manifest.json: cannot be read .*{KEPT}", replaced(MANIFEST, b"")),
    Bad("half a manifest", ("status", "x"), f"manifest.json: cannot be read .*{KEPT}",
        replaced(MANIFEST, b'{"format": 2, "name": "ma')),
    Bad("a manifest that is a list", ("status", "x"), "not written by Horizon", replaced(MANIFEST, b"[]")),
    Bad("a manifest nested deep", ("status", "x"), "manifest.json: cannot be read .recur", replaced(MANIFEST, DEEP)),
    Bad("a manifest of 5,000 digits", ("status", "x"), "manifest.json: cannot be read .number out of range",
        replaced(MANIFEST, b'{"format": ' + b"9" * 5000 + b"}")),
    Bad("a manifest of Latin-1", ("status", "x"), "cannot be read", replaced(MANIFEST, b'{"a": "\xe9"}')),
    Bad("a manifest that is a pipe", ("compare", "x"), "manifest.json: cannot be read .not a regular", piped(MANIFEST)),
    Bad("a manifest of an older format", ("compare", "x"), "format 1, this Horizon reads 2",
        edited(MANIFEST, put("format", value=1))),
    Bad("a manifest of no format", ("compare", "x"), "format None, this", edited(MANIFEST, put("format"))),
    manifest("no question", "asked", words="asked is missing"),
    manifest("no plan", "plan", words="plan is missing"),
    Bad("a manifest with half a plan", ("status", "x"), "1 of its cells have no plan",
        edited(MANIFEST, put("plan", CELL))),
    manifest("a plan of words", "plan", CELL, value=["a"], words=f"plan.{CELL}"),
    manifest("a seed of nan", "asked", "seed", value=float("nan"), words="asked.seed = nan"),
    manifest("a seed in quotes", "asked", "seed", value="0", words="asked.seed = '0'"),
    manifest("a cell that leads elsewhere", "asked", "cells", "0", value="../../x", words=r"asked.cells.0 = '../../x'"),
    manifest("cells that are a number", "asked", "cells", value=3, words="asked.cells = 3"),
    manifest("an arm without a label", "asked", "arms", "0", "label", words="asked.arms.0.label is missing"),
    manifest("knobs that are a list", "asked", "arms", "0", "knobs", value=[], words="asked.arms.0.knobs"),
    manifest("no runs", "runs", value=[], words="runs = .*at least 1 item"),
    manifest("an environment of words", "environments", value={"a": "b"}, words="environments.a"),
    manifest("codes that are a list", "codes", value=[1], words="codes = "),
    manifest("versions that are numbers", "asked", "suite_versions", value={"drift": 1}, words="drift = 1"),
    cell("no status", "status", words="status is missing"),
    cell("an unknown status", "status", value="fine", words="status = 'fine'"),
    cell("no strategy", "strategy", words="strategy is missing"),
    cell("no suite", "suite", words="suite is missing", command=("films", "x")),
    cell("no attempt", "attempt", words="attempt is missing", command=("status", "x")),
    cell("no checksum of its record", "record_sha256", words="record_sha256 is missing"),
    cell("a checksum of another kind", "record_sha256", value=5, words="record_sha256 = 5"),
    cell("no rollouts", "task", "rows", value=[], words="task.rows = "),
    cell("a rollout without a script", "task", "rows", "0", "script", value=[], words="task.rows.0.script"),
    cell("a seed of 64 bits", "task", "rows", "0", "seed", value=2**64, words="task.rows.0.seed"),
    cell("a list as a boundary", "task", "boundaries", value=[["smooth"]], words="task.boundaries.0"),
    cell("costs of nan", "cost", "chunk_ms", value=float("nan"), words="cost"),
    cell("costs in words", "cost", "cache_bytes", value="many", words="cost"),
    cell("seconds without end", "seconds", value=float("inf"), words="seconds = inf"),
    cell("no time at all", "seconds_per_latent_frame", value=0, words="seconds_per_latent_frame = 0"),
    cell("a film that leads elsewhere", "files", value={"../a": "0" * 64}, words="files"),
    Bad("an empty cell", ("status", "x"), f"cell.json: cannot be read .*{AWAY}", replaced(ABOUT, b"")),
    Bad("a cell that is not there", ("status", "x"), f"cell.json: no such file; {AWAY}", replaced(ABOUT, None)),
    Bad("a cell that is a pipe", ("status", "x"), "cell.json: cannot be read .not a regular file", piped(ABOUT)),
    Bad("a cell nested deep", ("status", "x"), "cell.json: cannot be read .recursion limit", replaced(ABOUT, DEEP)),
    Bad("a record that is not there", ("compare", "x"), "record.jsonl: no such file", replaced(RECORD, None)),
    Bad("a record that is a pipe", ("compare", "x"), "record.jsonl: cannot be read .not a regular", piped(RECORD)),
    Bad("a record cut by whole lines", ("compare", "x"), "its contents are not those that were measured",
        replaced(RECORD, LINE)),
    record("a value of nan", b'[0, "psnr", 3, NaN]\n', "a value that is not finite"),
    record("a value beyond all numbers", b'[0, "psnr", 3, 1e999]\n', "a value that is not finite"),
    record("a value of 5,000 digits", b'[0, "psnr", 3, ' + b"9" * 5000 + b"]\n", "number out of range"),
    record("a value of 400 digits", b'[0, "psnr", 3, ' + b"9" * 400 + b"]\n", "too large"),
    record("a value in quotes", b'[0, "psnr", 3, "0.5"]\n', "a value that is not a number"),
    record("a value that is true", b'[0, "psnr", 3, true]\n', "a value that is not a number"),
    record("the same line twice", LINE + LINE, "two values of one metric at one latent frame"),
    record("a short line", b'[0, "psnr", 3]\n', "a line that is not a list"),
    record("a table for a line", b'{"row": 0}\n', "a line that is not a list"),
    record("a row of another task", b'[1, "psnr", 3, 0.5]\n', "a row outside the 1 rollouts"),
    record("a row below 0", b'[-1, "psnr", 3, 0.5]\n', "a row outside the 1 rollouts"),
    record("half a latent frame", b'[0, "psnr", 1.5, 0.5]\n', "not a whole number"),
    record("a number for a metric", b"[0, 1, 3, 0.5]\n", "a metric that is not a name"),
    record("deep nesting", DEEP, "recursion limit exceeded"),
    Bad("pictures that are cut", ("compare", "x"), "pictures.npz: not pictures written.*numbers of the cell stay",
        replaced(PICTURES, b"PK\x03\x04")),
    Bad("pictures that run code", ("compare", "x"), "npz: not pictures written", replaced(PICTURES, _pickled())),
    Bad("pictures that are a pickle", ("compare", "x"), "pictures.npz: not pictures written",
        replaced(PICTURES, pickle.dumps(print))),
    Bad("pictures that are a pipe", ("compare", "x"), "npz: not pictures .*not a regular file", piped(PICTURES)),
    Bad("windows of words", ("films", "x"), "windows.json: not the windows of 0.mp4", replaced(WINDOWS, b'["a"]')),
    Bad("windows that go back", ("films", "x"), "windows.json: .*do not increase", replaced(WINDOWS, b"[6, 3]")),
    Bad("windows of 5,000 digits", ("films", "x"), "windows.json: .*Exceeds", replaced(WINDOWS, DIGITS)),
    Bad("windows that are a pipe", ("films", "x"), "windows.json: .*not a regular file", piped(WINDOWS)),
    Bad("windows that are a link", ("films", "x"), "windows.json: not a regular file", _linked),
    Bad("a merge of a link", MERGE, "windows.json: not a regular file", _to_merge(_linked)),
    Bad("half a view", ("compare", "x"), "cannot be read .*look again", replaced(VIEW, b'{"format": 1', with_view)),
    Bad("a view that is a pipe", ("compare", "x"), "json: cannot be read .not a regular file", piped(VIEW, with_view)),
    view("the film of another", "film", value="../../x", words="it is about the film '../../x'"),
    view("no parts", "parts", words="parts"),
    view("parts that are a number", "parts", value=3, words=""),
    view("a value of nan", *PART, "samples", value=[[3, float("nan")]], words="not a finite number"),
    view("a value in quotes", *PART, "samples", value=[[3, "0.5"]], words="not a finite number"),
    view("two values of one frame", *PART, "samples", value=[[3, 0.5], [3, 0.6]], words="two values at one"),
    view("a frame below 0", *PART, "samples", value=[[-3, 0.5]], words="latent frame is not a whole number"),
    view("no protocol", "protocol", value={}, words="'lpips' is missing"),
    Bad("a merge of nothing", ("merge", "z", "x"), "no campaign there"),
    Bad("a merge without a checksum", MERGE, "record_sha256 is missing",
        _to_merge(edited(ABOUT, put("record_sha256")))),
    Bad("a merge of a cut record", MERGE, "its contents are not those", _to_merge(replaced(RECORD, LINE))),
    Bad("a merge of cut pictures", MERGE, "not pictures written", _to_merge(replaced(PICTURES, b"PK\x03\x04"))),
    Bad("a merge of half a view", MERGE, "json: cannot be read", _to_merge(replaced(VIEW, b"{", with_view))),
    Bad("a merge of other seeds", MERGE, "holds another campaign: its seed is",
        _to_merge(edited(MANIFEST, put("asked", "seed", value=1)))),
    Bad("a merge of two truths", MERGE, "has different samples in", _conflict),
]  # fmt: skip
