"""Policies against precisions: a heat map of a score, for arms whose policy keeps its frames in fewer bits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from reports.arms import Entrant, entered, table_names
from reports.plots.panels import keep, panels_of, unit
from reports.plots.strips import INK

EXACT = "exact"
"""The column of arms that pack nothing."""


def grid_of(there: Sequence[tuple[Entrant, pd.DataFrame]]) -> pd.DataFrame:
    """Return mean scores: a row a policy, a column a precision; empty where no arm packs its policy's frames.

    Parameters
    ----------
    there
        Arms of one table with their scores. An arm packs where it has the knobs `policy` and `store`; its row is the
        policy's name, and that of exact arms their strategy's. Of several arms in one place the first one counts.
    """
    means = {entrant.label: float(mine["value"].mean()) for entrant, mine in there}
    found = {place: means[label] for label, place in places_of([entrant for entrant, _ in there]).items()}
    rows, columns = axes_of(found)
    return pd.DataFrame([[found.get((row, each), np.nan) for each in columns] for row in rows], rows, columns)


def places_of(field: Sequence[Entrant]) -> dict[str, tuple[str, str]]:
    """Return policy and precision by label, of arms whose policy one of them packs; of several arms in one place the
    first one."""
    found: dict[tuple[str, str], str] = {}
    packed = set()
    for entrant in field:
        policy, store = entrant.values.get("policy"), entrant.values.get("store")
        row, column = entrant.strategy, EXACT
        if isinstance(policy, str) and isinstance(store, str):
            row, column = policy.strip("[]").partition(".")[0], store
            packed.add(row)
        found.setdefault((row, column), entrant.label)
    return {label: place for place, label in found.items() if place[0] in packed}


def axes_of(places: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return the policies and the precisions of places in their order; exact arms are the first column."""
    there = list(places)
    columns = dict.fromkeys(column for _, column in there)
    return list(dict.fromkeys(row for row, _ in there)), sorted(columns, key=lambda column: column != EXACT)


def heat_map(scored: pd.DataFrame, field: Sequence[Entrant], scenario: str, metric: str, path: Path) -> None:
    """Draw a score over policies and precisions at the longest videos: a panel for each table of the report.

    Nothing is drawn where no arm packs.
    """
    part = scored[(scored["scenario"] == scenario) & (scored["metric"] == metric)]
    part = part[part["horizon_latent_frames"] == part["horizon_latent_frames"].max()]
    grids = {name: grid_of(entered(part, field, name)) for name in table_names(field)}
    grids = {name: grid for name, grid in grids.items() if len(grid)}
    if not grids:
        return
    figure, axes = panels_of(len(grids))
    lowest, highest = (0.0, 1.0) if unit(part) == "share" else _range(grids.values())
    for axis, (name, grid) in zip(axes, grids.items(), strict=True):
        axis.imshow(grid.to_numpy(), cmap="cividis", vmin=lowest, vmax=highest, aspect="auto")
        axis.set_xticks(range(grid.shape[1]), grid.columns)
        axis.set_yticks(range(len(grid)), grid.index)
        axis.set_title(f"{name}: {metric.replace('_', ' ')} ({unit(part)})", loc="left", fontsize=11, color=INK)
        for (row, column), value in np.ndenumerate(grid.to_numpy()):
            light = np.isnan(value) or value > lowest + 0.6 * (highest - lowest)
            text = "n/a" if np.isnan(value) else f"{value:.2f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=9, color=INK if light else "white")
    keep(figure, path)


def _range(grids: Iterable[pd.DataFrame]) -> tuple[float, float]:
    values = np.concatenate([grid.to_numpy().ravel() for grid in grids])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return low, max(high, low + 1e-12)
