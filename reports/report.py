"""Reports of campaigns: report.md, report.html, table.csv, pairs.csv, records.parquet and plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness import escaping
from harness.campaign.film_list import protocols
from harness.errors import StoreError
from harness.files import own, write_open, write_text
from harness.store.manifest import has_known_world
from harness.store.store import MANIFEST, Store
from reports.arms import Entrant, cohorts_of
from reports.evaluation import evaluate
from reports.legend import Legend, legend_of
from reports.notes import HANDICAPPED, STALE, handicapped_arms, mark, stale_arms
from reports.page.page import PageContent, page
from reports.plots.all import draw_all
from reports.pool import Snapshot
from reports.sheets.columns import Shown
from reports.sheets.cost import cost_sheets
from reports.sheets.quality import differences, paper_sheets, sheets, suite_sheets
from reports.sheets.sheet import Sheet
from reports.statistics.comparison import Comparison
from reports.statistics.ranking import matrices
from reports.tables import troubles

POOLED = Path("runs/pooled")
"""Folder of the report of several campaigns, unless another one is given."""


@np.errstate(over="ignore", invalid="ignore")  # Numbers near the largest float have no finite mean or spread.
def render(
    *folders: Path, out: Path | None = None, baseline: str | None = None, copy_films: bool = False
) -> tuple[list[Path], list[Sheet], Legend]:
    """Write the report of one campaign, or of several that differ in their seeds only.

    Parameters
    ----------
    folders
        Folders of campaigns.
    out
        Folder of the report; by default beside the records of a single campaign, and `POOLED` for several.
    baseline
        The arm with which the others are compared; by default that of the campaign, or `sliding_window`.
    copy_films
        Whether films that do not fit into the page are copied beside it, so that the report's folder can be moved.

    Returns
    -------
    written, sheets, legend
        The files, the page first; the tables; and the explanations of the tables.

    Raises
    ------
    StoreError
        For a folder without a campaign or without a finished cell, and for campaigns that cannot be pooled.
    UnknownNameError
        For a baseline that is not the name of any arm.
    """
    place = out or (folders[0] if len(folders) == 1 else POOLED)
    now = evaluate(folders, baseline)
    stores, found, runners, lengths, show = now.stores, now.found, now.arms, now.lengths, now.show
    own(place, "plots")
    if (place / MANIFEST).exists() and [place.resolve()] != [folder.resolve() for folder in folders]:
        raise StoreError(f"{place} is a campaign's folder and holds its own report; give --out another place")
    cohorts = cohorts_of(*stores)
    shown = [
        *paper_sheets(found, runners, now.manifest["asked"]),
        *sheets(found, runners, lengths, show),
        *suite_sheets(found, runners, now.table, lengths, show),
        *cost_sheets(found, runners, cohorts, show),
        *matrices(found, runners, lengths, show),
    ]
    labels = [[row[0] for row in sheet.rows] for sheet in shown]
    stale = stale_arms(stores, runners)
    handicapped = handicapped_arms(found)
    mark(shown, set(stale) & set(handicapped), HANDICAPPED + STALE)
    mark(shown, stale, STALE)
    mark(shown, handicapped, HANDICAPPED)
    # Checked first, so that nothing is written of a report that cannot be finished.
    for cell in (cell for store in stores for cell in store.cells()):
        cell.check_pictures()
    try:
        written, lines = _tables(place, now.table, found, runners)
        plots = draw_all(place / "plots", stores[0], now.table, now.scored, now.curves, found, runners, cohorts, show)
        legend = legend_of(found, runners, stores, stale, handicapped, show)
        against = differences(found, show.headline)
        text = _texts(stores, now.manifest, shown, against, plots, legend, found.baseline.name)
        content = PageContent(
            sheets=shown, labels=labels, legend=legend, differences=against, drawings=_drawings(plots, show),
            filmstrips=[(_words(path), path) for path in plots if path.stem.endswith("-filmstrips")],
            troubles=text["troubles"], protocols=text["protocols"], environments=text["environments"], stale=stale,
            handicapped=handicapped, cohorts=cohorts, csv=lines,
        )  # fmt: skip
        pages = [place / "report.html", place / "report.md"]
        write_text(pages[0], page(now, content, place, copy_films))
        write_text(pages[1], _markdown().get_template("report.md.j2").render(**text))
    except StoreError:
        # Reading failed; another place to write to would not help.
        raise
    except OSError as error:
        raise StoreError(f"cannot write to {place}: {error.strerror or error}; give --out another place") from None
    return [*pages, *written, *plots], shown, legend


def _tables(
    place: Path, table: pd.DataFrame, found: Comparison, runners: Sequence[Entrant]
) -> tuple[list[Path], list[str]]:
    """Write the tables for machines: all samples, all numbers, all pairs; return them and the lines of table.csv."""
    costs = pd.DataFrame([{"arm": r.label, "cache_bytes": r.cache_bytes, "chunk_ms": _chunk(r)} for r in runners])
    rows = found.rows.merge(costs, on="arm", how="left")
    paths = [place / name for name in ("table.csv", "pairs.csv", "records.parquet")]
    texts = [_csv(frame) for frame in (rows, found.pairs)]
    for path, text in zip(paths, texts, strict=False):
        write_text(path, text)
    write_open(paths[-1], table.to_parquet)
    return paths, texts[0].removesuffix("\n").split("\n")


def _csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV, one line a row: texts have no line breaks."""
    words = frame.select_dtypes(exclude="number")
    cells = frame.assign(**{name: words[name].map(escaping.csv_cell) for name in words})
    return str(cells.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def _drawings(plots: Sequence[Path], show: Shown) -> dict[str, Path]:
    """Return the files of the charts that suites draw by themselves, by the charts' names."""
    names = {chart.name for each in show.displays.values() for chart in each.charts if callable(chart.kind)}
    return {path.stem: path for path in plots if path.stem in names}


def _words(plot: Path) -> str:
    return plot.stem.replace("-", " ")


def _chunk(entrant: Entrant) -> float:
    """Return the milliseconds of a chunk, or NaN where they are from several cohorts."""
    timings = list(entrant.by_cohort.values())
    return timings[0].chunk_ms if len(timings) == 1 else float("nan")


def _texts(
    stores: Sequence[Snapshot],
    manifest: dict[str, Any],
    shown: list[Sheet],
    against: list[str],
    plots: list[Path],
    legend: Legend,
    baseline: str,
) -> dict[str, Any]:
    """Return the values that fill the pages. against: the baseline, in words."""
    asked = manifest["asked"]
    return {
        "manifest": manifest,
        "asked": asked,
        "environments": _environments(stores),
        "sheets": shown,
        "legend": legend,
        "differences": against,
        "plots": [(_words(path), path.name) for path in plots],
        "troubles": troubles(*stores),
        "protocols": _protocols(stores),
        "known": has_known_world(asked),
        "baseline": baseline,
    }


def _markdown() -> Environment:
    """Return the templates in which every expression is escaped for Markdown, except the output of Markdown filters."""
    pages = Environment(finalize=_as_markdown, **_TEMPLATES)
    pages.filters["code"] = lambda text: Markup(escaping.code(text))
    pages.filters["row"] = lambda cells: Markup(escaping.markdown_row(cells))
    pages.filters["address"] = lambda name: Markup(quote(name))
    return pages


def _as_markdown(value: Any) -> Any:
    return value if isinstance(value, Markup) else escaping.markdown(value)


_TEMPLATES: dict[str, Any] = {
    "loader": PackageLoader("reports", "html"), "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True
}  # fmt: skip


def _environments(stores: Sequence[Store]) -> list[dict[str, Any]]:
    """Return the environments in which the campaigns ran, each once."""
    found = [environment for store in stores for environment in store.manifest()["environments"].values()]
    return [each for number, each in enumerate(found) if each not in found[:number]]


def _protocols(stores: Sequence[Store]) -> list[tuple[str, str]]:
    """Return the protocols of the viewers of films, one line a metric."""
    found = [
        (f"{viewer}, {metric}", json.dumps(how, ensure_ascii=False))
        for store in stores
        for viewer, metrics in protocols(store).items()
        for metric, how in metrics.items()
    ]
    return list(dict.fromkeys(found))
