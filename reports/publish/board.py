"""A static site of many campaigns: an index with arms over backbones, and the page of each campaign."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from harness import escaping
from harness.errors import StoreError
from harness.files import own, write_text
from harness.store.store import MANIFEST
from reports.evaluation import Evaluation, evaluate
from reports.notes import handicapped_arms
from reports.page.answer import answer, deciding, first_table
from reports.page.grids import Cell, Grid, Head, ranked, sentence
from reports.page.page import asset, templates
from reports.report import render
from reports.sheets.sheet import Key, Sheet, number
from reports.statistics.comparison import marked
from reports.tables import suite_named

SPACE = """---
title: {title}
emoji: 🎞
colorFrom: blue
colorTo: green
sdk: static
pinned: false
---
Reports of Horizon, one page a campaign; `index.html` compares the arms over the backbones.
"""
"""README.md of a static Hugging Face Space."""


@dataclass(frozen=True)
class Entry:
    """A campaign on a board. folder: of its page, in the site."""

    now: Evaluation
    folder: str

    @property
    def asked(self) -> dict[str, Any]:
        """What the campaign was asked for."""
        asked: dict[str, Any] = self.now.manifest["asked"]
        return asked


@np.errstate(over="ignore", invalid="ignore")  # Numbers near the largest float have no finite mean or spread.
def board(folders: Sequence[Path], out: Path, title: str = "Which memory keeps a video itself?") -> list[Path]:
    """Write a site of campaigns, ready for GitHub Pages or a static Hugging Face Space.

    Parameters
    ----------
    folders
        Folders of campaigns.
    out
        Folder of the site.
    title
        Title of the index.

    Returns
    -------
    list of Path
        The pages, the index first.

    Raises
    ------
    StoreError
        For a folder without a campaign or without a finished cell, and for a site within a campaign's folder.
    """
    if (out / MANIFEST).exists():
        raise StoreError(f"{out} is a campaign's folder; give --out another place")
    entries: list[Entry] = []
    for folder in folders:
        now = evaluate([folder])
        entries.append(Entry(now, _unused(str(now.manifest["name"]), {entry.folder for entry in entries})))
    own(out, *(entry.folder for entry in entries))
    pages = []
    for folder, entry in zip(folders, entries, strict=True):
        written, _, _ = render(folder, out=out / entry.folder, copy_films=True)
        pages.append(written[0])
    campaigns = [_campaign(entry) for entry in entries]
    told = {
        "title": title, "subtitle": f"{counted(len(entries))}, made by Horizon", "sentences": [],
        "grids": [overview(entries)], "campaigns": campaigns, "css": asset("page.css"), "code": asset("table.js"),
    }  # fmt: skip
    index = out / "index.html"
    write_text(index, templates().get_template("board.html.j2").render(**told))
    # Without this file GitHub Pages leaves out names that begin with an underscore.
    write_text(out / ".nojekyll", "")
    write_text(out / "README.md", SPACE.format(title=escaping.visible(title).replace(":", " ")))
    return [index, *pages]


def counted(campaigns: int) -> str:
    """Return a number of campaigns in words: "1 campaign", "3 campaigns"."""
    return f"{campaigns} campaign{'s' * (campaigns != 1)}"


def overview(entries: Sequence[Entry]) -> Grid:
    """Return the table of arms over campaigns: of each, the score that its page ranks by."""
    labels = list(dict.fromkeys(arm.label for entry in entries for arm in entry.now.arms))
    sheet = Sheet("Arms over backbones", [])
    sheet.notes.append(
        "Each column is compared within its own campaign: ● best, ○ not told apart from the best; ▲ better, ▼ worse "
        "than its baseline."
    )
    heads = [Head("strategy", "", "The arm: a strategy with its knobs.")]
    columns: list[dict[str, Cell]] = []
    for entry in entries:
        column = deciding(entry.now.found, entry.now.show)
        part = pd.DataFrame() if column is None else first_table(column, entry.now.found.rows)
        title = f"{entry.asked['backbone']}, {entry.now.manifest['name']}"
        if column is None or part.empty:
            heads.append(Head(title, "", "No score of this campaign ranks its arms."))
            columns.append({})
            continue
        first = part.iloc[0]
        key = Key(column.suite, column.column.scenario, column.column.score, int(first["horizon_latent_frames"]))
        pairs = key.of(entry.now.found.pairs)
        ranks = ranked(part, pairs[pairs["table"] == first["table"]])
        metric = suite_named(column.suite).metric_named(column.column.score)
        told = f"{column.column.heading}: {sentence(metric, key, first['horizon_seconds'], first['better'])}"
        heads.append(
            Head(title, f"{column.column.heading}, n={part['count'].max()}", told, first["better"], ranked=True)
        )
        spell = number(0 if first["unit"] == "s" else 2)
        columns.append({
            row.arm: Cell(spell(row.mean, row.low, row.high, 0) + marked(row), float(row.mean), ranks.get(row.arm, ""))
            for row in part.itertuples()
            if row.count
        })  # fmt: skip
    rows = [[Cell(label), *(column.get(label, Cell("n/a")) for column in columns)] for label in labels]
    return Grid("overview", sheet, labels, heads, rows)


def _campaign(entry: Entry) -> dict[str, Any]:
    now = entry.now
    notes = dict.fromkeys(handicapped_arms(now.found), "handicapped")
    return {
        "name": now.manifest["name"], "address": f"{quote(entry.folder)}/report.html", "arms": len(now.arms),
        "backbone": entry.asked["backbone"], "tier": entry.asked["tier"], "cells": len(entry.asked["cells"]),
        "when": str(now.manifest["runs"][-1]["when"])[:10], "answer": answer(now.found, now.arms, now.show, notes)[0],
    }  # fmt: skip


def _unused(name: str, taken: set[str]) -> str:
    """Return a name of a folder that every file system and server takes, and that is not taken yet."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:60] or "campaign"
    found, count = plain, 1
    while found.lower() in {each.lower() for each in taken}:
        count += 1
        found = f"{plain}-{count}"
    return found
