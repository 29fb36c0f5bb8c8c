"""The pictures of a comparison: curves, survival, cost against quality, filmstrips side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from harness.campaign import PUBLISHED
from harness.store import Store
from reports.plots import INK, PALE, filmstrip, save
from reports.stats import interval
from reports.tables import BASELINE, Entrant, table_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#B8A800")
"""Okabe and Ito's colours, which colour-blind readers tell apart, and two more."""
DASHES = ("-", "--", "-.", ":")


def styles(field: Sequence[Entrant]) -> dict[str, dict[str, Any]]:
    """One look for each arm of a report: a colour a strategy (the baseline is grey), a dash a variant of it."""
    names = sorted({entrant.strategy for entrant in field} - {BASELINE})
    found: dict[str, dict[str, Any]] = {}
    for entrant in field:
        colour = PALE if entrant.strategy == BASELINE else PALETTE[names.index(entrant.strategy) % len(PALETTE)]
        variants = [other.label for other in field if other.strategy == entrant.strategy]
        found[entrant.label] = {"color": colour, "linestyle": DASHES[variants.index(entrant.label) % len(DASHES)]}
    return found


def curves(table: pd.DataFrame, field: Sequence[Entrant], metric: str, scenario: str, path: Path) -> None:
    """A metric over the length of the video, with 95 % intervals: a panel for each table of the report."""
    part = table[(table["metric"] == metric) & (table["scenario"] == scenario)]
    panels = table_names(field)
    figure, axes = _figure(len(panels))
    for axis, name in zip(axes, panels, strict=True):
        for entrant, mine in _mine(part, field, name):
            points = []
            for end, values in mine.dropna(subset="value").groupby("at_frame"):
                seconds = values["horizon_seconds"].iloc[0] / values["horizon_latent_frames"].iloc[0]
                found = interval(values["value"].to_numpy(float), values["seed"].to_numpy())
                points.append((end * seconds, found.mean, found.low, found.high))
            times, means, lows, highs = np.array(points).T
            style = styles(field)[entrant.label]
            axis.plot(times, means, label=entrant.label, linewidth=1.8, **style)
            axis.fill_between(times, lows, highs, color=style["color"], alpha=0.12, linewidth=0)
        _dress(axis, name, "seconds of video", f"{metric.replace('_', ' ')} ({_unit(part)})")
        axis.set_ylim(-0.02, 1.02)
    _legend(figure, axes)
    _both(figure, path)


def survival(scored: pd.DataFrame, field: Sequence[Entrant], scenario: str, path: Path) -> None:
    """Share of the rollouts that are still themselves, over the length of the video."""
    part = scored[(scored["metric"] == "survival") & (scored["scenario"] == scenario)]
    panels = table_names(field)
    figure, axes = _figure(len(panels))
    for axis, name in zip(axes, panels, strict=True):
        for entrant, mine in _mine(part, field, name):
            whole = mine[mine["horizon_latent_frames"] == mine["horizon_latent_frames"].max()]
            horizon, lost = whole["horizon_seconds"].max(), np.sort(whole["value"].to_numpy(float))
            gone = lost[lost < horizon]
            times = np.concatenate(([0], gone, [horizon]))
            left = 1 - np.concatenate((np.arange(len(gone) + 1), [len(gone)])) / len(lost)
            axis.step(times, left, where="post", label=entrant.label, linewidth=1.8, **styles(field)[entrant.label])
        _dress(axis, name, "seconds of video", "still itself (share of rollouts)")
        axis.set_ylim(-0.02, 1.02)
    _legend(figure, axes)
    _both(figure, path)


def price(rows: pd.DataFrame, field: Sequence[Entrant], title: str, path: Path) -> None:
    """Quality against what it costs: cached bytes, and milliseconds a chunk as they happened to be."""
    figure, axes = _figure(2)
    about = {entrant.label: entrant for entrant in field}
    for axis, (cost, label) in zip(
        axes,
        (("cache_bytes", "cache, kB a rollout"), ("chunk_ms", "ms a chunk of the whole batch (indicative)")),
        strict=True,
    ):
        for row in rows.drop_duplicates("arm").itertuples():
            entrant = about[row.arm]
            where = getattr(entrant, cost) / (1000 if cost == "cache_bytes" else 1)
            style = styles(field)[entrant.label]
            axis.errorbar(
                where,
                row.mean,
                yerr=[[row.mean - row.low], [row.high - row.mean]],
                fmt="o",
                color=style["color"],
                markerfacecolor=style["color"] if style["linestyle"] == "-" else "white",
                capsize=2,
                label=entrant.label,
            )
        _dress(axis, "", label, title)
        axis.set_ylim(-0.02, 1.02)
        axis.set_xlim(left=0)
    _legend(figure, axes)
    _both(figure, path)


def strips(store: Store, field: Sequence[Entrant], scenario: str, path: Path) -> None:
    """The same prompt and seed under every strategy, one below the other, as published; nothing without pictures."""
    cells = [cell for cell in store.cells() if cell.status == "ok" and cell.about["task"]["scenario"] == scenario]
    longest = max((cell.about["task"]["frames"] for cell in cells), default=0)
    rows, labels, times = [], [], []
    for entrant in field:
        for cell in cells:
            same = cell.about["strategy"] == entrant.strategy and cell.about["task"]["frames"] == longest
            if same and cell.about["knobs"] == entrant.values and PUBLISHED in entrant.tables:
                pictures = cell.pictures()
                rows.append(torch.from_numpy(pictures["strip"][0]) / 255)
                labels.append(entrant.label)
                times = [f"{frame * cell.about['seconds_per_latent_frame']:g} s" for frame in pictures["frames"]]
    if rows:
        filmstrip(rows, path, times, labels)


def _mine(part: pd.DataFrame, field: Sequence[Entrant], table: str) -> list[tuple[Entrant, pd.DataFrame]]:
    """The rows of each arm of a table; the longest rollouts only, where an arm has others."""
    found = []
    for entrant in field:
        mine = part[(part["strategy"] == entrant.strategy) & (part["knobs"] == entrant.knobs)]
        if table in entrant.tables and len(mine):
            found.append((entrant, mine))
    return found


def _unit(part: pd.DataFrame) -> str:
    return str(part["unit"].iloc[0])


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure as New

    figure = New(figsize=(5.2 * panels + 2.2, 3.8), dpi=130, layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _dress(axis: Axes, title: str, across: str, up: str) -> None:
    axis.set_title(title, loc="left", fontsize=11, color=INK)
    axis.set_xlabel(across, fontsize=10)
    axis.set_ylabel(up, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.2)


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend, right of the panels."""
    shown = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        shown.update(dict(zip(labels, handles, strict=True)))
    figure.legend(shown.values(), shown.keys(), loc="outside right upper", frameon=False, fontsize=9)


def _both(figure: Figure, path: Path) -> None:
    """As PNG for pages and as SVG for papers."""
    save(figure, path.with_suffix(".png"))
    save(figure, path.with_suffix(".svg"))
