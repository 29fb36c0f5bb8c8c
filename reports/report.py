"""A campaign's folder made readable: report.md, report.html, table.csv, records.parquet and plots."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.files import write_whole
from harness.store import Store
from reports import drift_plots
from reports.tables import BASELINE, Entrant, compared, entrants, scores, tidy, troubles

COLUMNS = (
    ("steady", "unsaid_identity", "unsaid identity"),
    ("steady", "identity", "identity"),
    ("steady", "survival", "itself for (s)"),
    ("steady", "motion", "motion"),
    ("steady-text", "identity", "identity, from text"),
    ("occlusion", "unsaid_identity", "after an occlusion"),
)
"""What the tables show: scenario, score, heading."""
HEADLINE = ("steady", "unsaid_identity")


@dataclass
class Sheet:
    """One table of the report, as text: a heading, its columns, a row an arm."""

    title: str
    heads: list[str]
    rows: list[list[str]] = field(default_factory=list)


def render(folder: Path) -> tuple[list[Path], list[Sheet]]:
    """Write everything that people read beside the records; returns what was written, the page first, and
    the tables.

    Raises StoreError for a folder without a campaign, or without a finished cell.
    """
    store = Store(folder)
    manifest, table, runners = store.manifest(), tidy(store), entrants(store)
    scored = scores(table)
    rows = compared(scored, runners)
    write_whole(folder / "records.parquet", table.to_parquet)
    write_whole(
        folder / "table.csv", lambda path: _with_costs(rows, runners).to_csv(path, index=False, float_format="%.6g")
    )
    shown = sheets(rows, runners)
    plots = _plots(store, table, scored, rows, runners)
    told = {
        "manifest": manifest,
        "asked": manifest["asked"],
        "environment": manifest["environment"],
        "sheets": shown,
        "differences": differences(rows),
        "plots": [(path.stem.replace("-", " "), path.name, _inline(path)) for path in plots],
        "troubles": troubles(store),
        "rollouts": scored.groupby(["strategy", "knobs"])[["scenario", "seed"]]
        .apply(lambda x: len(x.drop_duplicates()))
        .max(),
        "baseline": BASELINE,
    }
    pages = Environment(
        loader=PackageLoader("reports", "html"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made = []
    for name, escape in (("report.html", True), ("report.md", False)):
        text = pages.overlay(autoescape=escape).get_template(f"{name}.j2").render(**told)
        write_whole(folder / name, partial(_write, text))
        made.append(folder / name)
    return [*made, folder / "table.csv", folder / "records.parquet", *plots], shown


def sheets(rows: pd.DataFrame, runners: list[Entrant]) -> list[Sheet]:
    """The tables: every arm at the longest horizon of each scenario, with intervals; ▲ and ▼ mark real differences."""
    shown = [column for column in COLUMNS if ((rows["scenario"] == column[0]) & (rows["metric"] == column[1])).any()]
    found = []
    for table in dict.fromkeys(rows["table"]):
        sheet = Sheet(table, ["strategy", "cache (kB)", "chunk (ms)", *(f"{head}" for *_, head in shown)])
        part = rows[rows["table"] == table]
        for runner in [runner for runner in runners if runner.label in set(part["arm"])]:
            cells = [_entry(part, runner.label, scenario, metric) for scenario, metric, _ in shown]
            sheet.rows.append([runner.label, f"{runner.cache_bytes / 1000:.0f}", f"{runner.chunk_ms:.0f}", *cells])
        found.append(sheet)
    return found


def differences(rows: pd.DataFrame) -> list[str]:
    """What the headline score says in words, one line an arm and table."""
    scenario, metric = HEADLINE
    part = rows[(rows["scenario"] == scenario) & (rows["metric"] == metric) & rows["difference"].notna()]
    part = part[part["horizon_seconds"] == part["horizon_seconds"].max()]
    lines = []
    for row in part.itertuples():
        verdict = ("better" if row.difference > 0 else "worse") if row.real else "not told apart"
        lines.append(
            f"{row.table}: {row.arm} {row.difference:+.2f} [{row.difference_low:+.2f}, {row.difference_high:+.2f}] "
            f"against {BASELINE} after {row.horizon_seconds:g} s: {verdict}"
        )
    return lines


def _entry(part: pd.DataFrame, arm: str, scenario: str, metric: str) -> str:
    mine = part[(part["scenario"] == scenario) & (part["metric"] == metric)]
    longest = mine["horizon_latent_frames"].max()
    mine = mine[(mine["arm"] == arm) & (mine["horizon_latent_frames"] == longest)]
    if mine.empty:
        return "n/a"
    row = mine.iloc[0]
    digits = 0 if row["unit"] == "s" else 2
    mark = (
        ""
        if not (row["real"] is True or row["real"] == 1)
        else (" ▲" if (row["difference"] > 0) == (row["better"] == "higher") else " ▼")
    )
    half = (row["high"] - row["low"]) / 2
    return f"{row['mean']:.{digits}f} ± {half:.{digits}f}{mark}"


def _with_costs(rows: pd.DataFrame, runners: list[Entrant]) -> pd.DataFrame:
    costs = pd.DataFrame([{"arm": r.label, "cache_bytes": r.cache_bytes, "chunk_ms": r.chunk_ms} for r in runners])
    return rows.merge(costs, on="arm", how="left")


def _plots(
    store: Store, table: pd.DataFrame, scored: pd.DataFrame, rows: pd.DataFrame, runners: list[Entrant]
) -> list[Path]:
    folder = store.folder / "plots"
    made = []

    def keep(name: str, draw: Any, *arguments: Any) -> None:
        path = folder / f"{name}.png"
        draw(*arguments, path)
        if path.exists():
            made.append(path)

    there = set(zip(table["scenario"], table["metric"], strict=True))
    for scenario, metric in (("steady", "unsaid_identity"), ("steady", "motion"), ("occlusion", "unsaid_identity")):
        if (scenario, metric) in there:
            keep(f"{scenario}-{metric}", drift_plots.curves, table, runners, metric, scenario)
    if "steady" in set(scored["scenario"]):
        keep("steady-survival", drift_plots.survival, scored, runners, "steady")
    part = rows[(rows["scenario"] == HEADLINE[0]) & (rows["metric"] == HEADLINE[1])]
    if len(part):
        part = part[part["horizon_seconds"] == part["horizon_seconds"].max()]
        title = f"unsaid identity after {part['horizon_seconds'].iloc[0]:g} s"
        keep("cost-and-quality", drift_plots.price, part, runners, title)
    for scenario in ("steady", "occlusion"):
        keep(f"{scenario}-filmstrips", drift_plots.strips, store, runners, scenario)
    return made


def _write(text: str, path: Path) -> None:
    path.write_text(text)


def _inline(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
