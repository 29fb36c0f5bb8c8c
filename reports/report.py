"""A campaign's folder made readable: report.md, report.html, table.csv, records.parquet and plots."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.campaign import PUBLISHED
from harness.files import write_text, write_whole
from harness.screening import protocols
from harness.store import Store
from reports import cost_plots, drift_plots, interactive_plots
from reports.budget import cached, notes, with_budget
from reports.cost import cost_sheets, speeds
from reports.tables import BASELINE, Entrant, Sheet, compared, entrants, marked, scores, tidy, troubles

COLUMNS = (
    ("steady", "unsaid_identity", "unsaid identity"),
    ("steady", "identity", "identity"),
    ("steady", "survival", "itself for (s)"),
    ("steady", "motion", "motion"),
    ("steady-text", "identity", "identity, from text"),
    ("occlusion", "unsaid_identity", "after an occlusion"),
    ("forced", "distance", "distance to full (%)"),
)
"""What the tables show: scenario, score, heading."""
SIX = "six-21"
SWITCHES = (
    (SIX, "responded", "followed"),
    (SIX, "leakage_12", "old scene stays"),
    ("hardcut-21", "leakage_12", "after a cut"),
    ("recall-21", "recall", "back after 5 s"),
    ("recall-84", "recall", "after 21 s"),
)
FILMED = (
    ("steady", "dino", "DINO"),
    ("steady", "clip", "CLIP"),
    ("steady", "lpips", "LPIPS"),
    ("steady", "psnr", "PSNR (dB)"),
    ("steady", "sharpness", "sharpness"),
    ("steady", "clip_score", "CLIP score"),
    ("steady", "dynamic", "moves"),
    ("steady", "guard", "alive"),
)
FILMED_SWITCHES = (
    ("smooth", "clip_score_scene", "CLIP score, smooth"),
    ("hardcut", "clip_score_scene", "after a cut"),
    ("hardcut", "clip_old", "of the old prompt"),
    ("recall", "recall_dino", "back (DINO)"),
    ("recall", "recall_dino_chance", "by chance"),
    ("six", "clip_score_scene", "six scenes"),
)
"""What they show of backbones whose truth is not known: of films, what viewers saw included."""
VBENCH = tuple(
    ("vbench", metric, head)
    for metric, head in (
        ("total_score", "total"),
        ("quality_score", "quality"),
        ("semantic_score", "semantic"),
        ("plain_mean_memrope", "plain mean (MemRoPE's six)"),
        ("plain_mean_videomla", "plain mean (VideoMLA's six)"),
        ("subject_consistency", "subject"),
        ("background_consistency", "background"),
        ("temporal_flickering", "flickering"),
        ("motion_smoothness", "smoothness"),
        ("dynamic_degree", "dynamic"),
        ("aesthetic_quality", "aesthetic"),
        ("imaging_quality", "imaging"),
        ("overall_consistency", "overall"),
    )
)
LOOKED_AT = ("dino", "clip", "lpips", "ssim", "clip_score")
"""Curves of films."""
PRICES = (
    (SIX, "jump", "jump at a switch"),
    (SIX, "constancy", "constancy in a scene"),
)
"""What the tables of prompt switches show."""
HEADLINE = ("steady", "unsaid_identity")


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
    shown = [
        *sheets(rows, runners),
        *vbench_sheets(rows, runners),
        *switch_sheets(rows, runners, table),
        *cost_sheets(rows, runners),
    ]
    plots = _plots(store, table, scored, rows, runners)
    asked = manifest["asked"]
    told = {
        "manifest": manifest,
        "asked": asked,
        "environment": manifest["environments"][manifest["runs"][0]["environment"]],
        "sheets": shown,
        "differences": differences(rows),
        "plots": [(path.stem.replace("-", " "), path.name, _inline(path)) for path in plots],
        "troubles": troubles(store),
        "protocols": _protocols(store),
        "filmed": _filmed(rows),
        "known": asked["backbone"] == "pocket",
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
        write_text(folder / name, text)
        made.append(folder / name)
    return [*made, folder / "table.csv", folder / "records.parquet", *plots], shown


def sheets(rows: pd.DataFrame, runners: list[Entrant]) -> list[Sheet]:
    """The tables: every arm at the longest horizon of each scenario, with intervals; ▲ and ▼ mark real differences."""
    shown = [*_there(COLUMNS, rows), *(_there(FILMED, rows) if _filmed(rows) else [])]
    found: list[Sheet] = []
    for table in with_budget(rows["table"], runners) if shown else ():
        sheet = Sheet(table, ["strategy", "cache (kB)", "chunk (ms)", *(head for *_, head in shown)])
        sheet.notes = notes(table, runners)
        part = rows[rows["table"] == table]
        for runner in [runner for runner in runners if runner.label in set(part["arm"])]:
            cells = [_entry(part, runner.label, scenario, metric) for scenario, metric, _ in shown]
            sheet.rows.append([runner.label, cached(runner, table), f"{runner.chunk_ms:.0f}", *cells])
        found.append(sheet)
    return found


def vbench_sheets(rows: pd.DataFrame, runners: list[Entrant]) -> list[Sheet]:
    """The scores and dimensions of VBench-Long, as published; nothing for a campaign without any."""
    shown = _there(VBENCH, rows)
    if not shown:
        return []
    sheet = Sheet("VBench-Long", ["strategy", *(head for *_, head in shown)])
    part = rows[rows["table"] == PUBLISHED]
    for runner in [runner for runner in runners if runner.label in set(part["arm"])]:
        sheet.rows.append([runner.label, *(_entry(part, runner.label, *column[:2]) for column in shown)])
    return [sheet]


def switch_sheets(rows: pd.DataFrame, runners: list[Entrant], samples: pd.DataFrame) -> list[Sheet]:
    """What becomes of prompt switches, as published; nothing for a campaign without any."""
    films = _there(FILMED_SWITCHES, rows)
    shown, more = _there(SWITCHES, rows) or films, _there(PRICES, rows)
    if not shown:
        return []
    # How fast a switch is followed is read off with a probe, frame by frame.
    response = [] if films else ["median response"]
    switches = Sheet("prompt switches", ["strategy", *response, *(head for *_, head in shown)])
    price = Sheet("what a switch costs", ["strategy", "ms", "latent frames replayed", *(head for *_, head in more)])
    part = rows[rows["table"] == PUBLISHED]
    for runner in [runner for runner in runners if runner.label in set(part["arm"])]:
        results, costs = ([_entry(part, runner.label, *column[:2]) for column in columns] for columns in (shown, more))
        switches.rows.append([runner.label, *([] if films else [_median_response(samples, runner)]), *results])
        price.rows.append([runner.label, f"{runner.switch_ms:.1f}", f"{runner.switch_frames:.0f}", *costs])
    return [switches, price]


def _filmed(rows: pd.DataFrame) -> bool:
    """Whether a campaign has films."""
    return "psnr" in set(rows["metric"])


def _there(columns: Sequence[tuple[str, str, str]], rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    there = set(zip(rows["scenario"], rows["metric"], strict=True))
    return [column for column in columns if column[:2] in there]


def _median_response(samples: pd.DataFrame, runner: Entrant) -> str:
    """Median of the latent frames until a switch was followed; those never followed count as longer than any."""
    mine = samples[
        (samples["scenario"] == SIX) & (samples["strategy"] == runner.strategy) & (samples["knobs"] == runner.knobs)
    ]
    keys = ["seed", "at_frame"]
    frames = mine[mine["metric"] == "response"].set_index(keys)["value"]
    followed = mine[mine["metric"] == "responded"].set_index(keys)["value"]
    frames = frames.where(followed > 0, np.inf)[followed.notna()]
    if frames.empty:
        return "n/a"
    middle = frames.median()
    if not np.isfinite(middle):
        return "never"
    return f"{middle:g} frame{'' if middle == 1 else 's'}"


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
    half = (row["high"] - row["low"]) / 2
    # One value has no interval.
    spread = f" ± {half:.{digits}f}" if np.isfinite(half) else ""
    return f"{row['mean']:.{digits}f}{spread}{marked(row)}"


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
    if _filmed(table):
        for metric in LOOKED_AT:
            if ("steady", metric) in there:
                keep(f"steady-{metric}", drift_plots.curves, table, runners, metric, "steady")
    if "survival" in set(scored["metric"]):
        keep("steady-survival", drift_plots.survival, scored, runners, "steady")
    part = rows[(rows["scenario"] == HEADLINE[0]) & (rows["metric"] == HEADLINE[1])]
    if len(part):
        part = part[part["horizon_seconds"] == part["horizon_seconds"].max()]
        title = f"unsaid identity after {part['horizon_seconds'].iloc[0]:g} s"
        path = folder / "cost-and-quality.png"
        drift_plots.price(part, runners, title, path, speeds(rows))
        made.append(path)
    measured = set(table["suite"])
    if "latency" in measured:
        keep("chunk-latency", cost_plots.waits, table, runners)
    if {"fps", "vram"} & measured:
        keep("cost-over-the-video", cost_plots.over_the_video, table, runners)
    if (SIX, "new_scene") in there:
        switches = next(
            [(scene[0], kind) for scene, kind in zip(task["rows"][0]["script"], task["boundaries"], strict=True)][1:]
            for cell in store.cells()
            if (task := cell.about["task"])["scenario"] == SIX
        )
        keep("prompt-switches", interactive_plots.attributes, table, runners, SIX, switches)
    for scenario in ("steady", "occlusion", "recall-21", SIX, "recall", "six"):
        keep(f"{scenario}-filmstrips", drift_plots.strips, store, runners, scenario)
    return made


def _protocols(store: Store) -> list[tuple[str, str]]:
    """How viewers looked at the films, a line a metric."""
    return [
        (f"{viewer}, {metric}", json.dumps(how, ensure_ascii=False))
        for viewer, found in protocols(store).items()
        for metric, how in found.items()
    ]


def _inline(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
