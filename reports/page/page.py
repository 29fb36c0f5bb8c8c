"""report.html: one file that works offline, with its data, its films and its script inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness import escaping
from harness.store.manifest import has_known_world
from reports.arms import cells_of
from reports.evaluation import Evaluation
from reports.legend import Legend
from reports.page.answer import answer, deciding
from reports.page.charts import charts
from reports.page.cost_charts import price
from reports.page.films import films
from reports.page.grids import Grid, grids
from reports.page.look import look
from reports.page.rollouts import rollouts
from reports.page.values import script
from reports.sheets.sheet import Sheet

ASSETS = Path(__file__).parent.parent / "html"


@dataclass(frozen=True)
class PageContent:
    """Content of a page besides the numbers of the evaluation.

    Parameters
    ----------
    sheets, labels
        The report's tables, and the labels of their rows without marks.
    legend
        Explanations of the tables.
    differences
        The headline's differences to the baseline, in words.
    drawings
        Files of the charts that suites draw by themselves, by the charts' names.
    filmstrips
        Title and file of each picture of filmstrips.
    troubles, protocols, environments
        Cells without a result; how viewers measured; where the cells ran.
    stale, handicapped
        Reasons by label.
    cohorts
        Descriptions of the machines.
    csv
        Lines of table.csv.
    """

    sheets: Sequence[Sheet]
    labels: Sequence[Sequence[str]]
    legend: Legend
    differences: Sequence[str]
    drawings: Mapping[str, Path]
    filmstrips: Sequence[tuple[str, Path]]
    troubles: Sequence[tuple[str, str, str]]
    protocols: Sequence[tuple[str, str]]
    environments: Sequence[Mapping[str, Any]]
    stale: Mapping[str, str]
    handicapped: Mapping[str, str]
    cohorts: Mapping[str, str]
    csv: Sequence[str]


def page(now: Evaluation, content: PageContent, place: Path, copy_films: bool = False) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    place
        The folder into which it will be written; films and records are addressed from there.
    copy_films
        Whether films that do not fit into the page are copied beside it.
    """
    marked = _marked(now, content.handicapped)
    tables = grids(content.sheets, content.labels, now.found, content.csv)
    cells = [cell for store in now.stores for cell in cells_of(store)]
    drawn = charts(now.table, now.scored, now.curves, now.found.rows, now.arms, cells, now.show, content.drawings)
    costs = price(deciding(now.found, now.show), now.found.rows, now.arms, content.cohorts, marked)
    arms = [
        {"label": arm.label, "strategy": arm.strategy, **look(arm.strategy, arm.label)._asdict(),
         "note": "; ".join(filter(None, (marked.get(arm.label, ""), "stale" if arm.label in content.stale else "")))}
        for arm in now.arms
    ]  # fmt: skip
    base = dict(now.found.baseline.arms)
    data = {
        "arms": arms,
        "baseline": next(iter(base.values()), ""),
        "tables": {grid.name: grid.data for grid in tables},
        "charts": [*([costs] if costs else []), *drawn],
        "rollouts": rollouts(now.stores, now.table, now.scored, now.arms, now.show, place),
        "films": films(now.stores, now.show, place, copy=copy_films),
        "filmstrips": [[suite, name] for suite, each in now.show.displays.items() for name in each.filmstrips],
    }
    filmed = bool(data["films"])
    return templates().get_template("report.html.j2").render(
        manifest=now.manifest, asked=now.manifest["asked"], arms=arms, content=content, legend=content.legend,
        grids=tables,
        sentences=answer(now.found, now.arms, now.show, marked), charts=drawn, price=costs, filmed=filmed,
        pictures=[(title, inline(path)) for title, path in content.filmstrips if not filmed],
        drawings={name: inline(path) for name, path in content.drawings.items()},
        baseline=now.found.baseline.name, runs=_runs(now), known=has_known_world(now.manifest["asked"]),
        data=Markup(script(data)), css=asset("page.css"), code=asset("page.js"),
            table_code=asset("table.js"),
        library=asset("vendor/plotly-basic.min.js"),
    )  # fmt: skip


def templates() -> Environment:
    """Return the templates of pages, in which every expression is escaped for HTML."""
    made = Environment(
        finalize=_visible, autoescape=True, loader=PackageLoader("reports", "html"), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.tests["matrix"] = lambda grid: isinstance(grid, Grid) and grid.matrix
    return made


def asset(name: str) -> Markup:
    """Return a file of the page as it is."""
    return Markup((ASSETS / name).read_text(encoding="utf-8"))


def inline(path: Path) -> str:
    """Return a picture as a data address."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _visible(value: Any) -> Any:
    return escaping.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _marked(now: Evaluation, handicapped: Mapping[str, str]) -> dict[str, str]:
    """Return words about arms that are at a disadvantage, by label."""
    weights = {
        str(arm["label"]): (arm.get("weights") or {}).get("about", "")
        for store in now.stores
        for arm in store.manifest()["asked"]["arms"]
    }
    found = {label: "untrained" for label, about in weights.items() if "untrained" in about}
    for label in handicapped:
        found[label] = "; ".join(filter(None, (found.get(label, ""), "handicapped")))
    return found


def _runs(now: Evaluation) -> list[dict[str, Any]]:
    """Return what ran where: one line a suite, arm and environment, with the number of cells by status."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for store in now.stores:
        environments = list(store.manifest()["environments"])
        for cell in cells_of(store):
            digest = cell.about["environment"]
            number = environments.index(digest) + 1 if digest in environments else 0
            counts = found.setdefault((cell.about["suite"], f"{store.manifest()['name']}, environment {number}"), {})
            counts[cell.status] = counts.get(cell.status, 0) + 1
    return [{"suite": suite, "where": where, "counts": counts} for (suite, where), counts in sorted(found.items())]
