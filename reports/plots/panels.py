"""Shared parts of the plots of a comparison: line styles of arms, panels side by side, one legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from reports.arms import Entrant
from reports.plots.strips import INK, PALE, save
from reports.statistics.baseline import Baseline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#B8A800")
"""Okabe and Ito's colours, which colour-blind readers can distinguish, and two more."""
DASHES = ("-", "--", "-.", ":", (0, (9, 3)), (0, (7, 2, 1, 2, 1, 2)), (0, (1, 4)), (0, (3, 1, 1, 1)))
MARKS = "osD^vP*X"
MOST = 24
"""Most arms in a plot beside the baseline; with more, lines could not be distinguished."""
FAR = 300
"""Largest ratio of a logarithmic axis's ends at which ticks between the powers of ten are labelled."""


@dataclass(frozen=True)
class Cast:
    """The arms in the plots of a report, and their colours, line styles and markers.

    Parameters
    ----------
    field
        The arms, at most `MOST` of them.
    looks
        Colour and line style by label: one colour a strategy (grey for the baseline), one dash pattern a variant.
    marks
        A marker by label, for single points and for curves that lie on top of each other.
    cohorts
        Short names of the machines on which costs were measured, in the order of their line styles.
    left_out
        Number of arms that are not shown.
    """

    field: Sequence[Entrant]
    looks: Mapping[str, dict[str, Any]]
    marks: Mapping[str, str]
    cohorts: Sequence[str] = ("",)
    left_out: int = 0


def cast(field: Sequence[Entrant], baseline: Baseline, cohorts: Sequence[str] = ("",)) -> Cast:
    """Return the line styles of a report's arms; the baseline is always among the arms."""
    labels = baseline.labels()
    first = {entrant.label for entrant in (*(e for e in field if e.label in labels), *field)[: MOST + len(labels)]}
    shown = [entrant for entrant in field if entrant.label in first][: MOST + len(labels)]
    grey = {entrant.strategy for entrant in shown if entrant.label in labels}
    names = sorted({entrant.strategy for entrant in shown} - grey)
    looks: dict[str, dict[str, Any]] = {}
    count: dict[str, int] = {}
    for entrant in shown:
        place = count[entrant.strategy] = count.get(entrant.strategy, -1) + 1
        colour = PALE if entrant.strategy in grey else PALETTE[names.index(entrant.strategy) % len(PALETTE)]
        looks[entrant.label] = {"color": colour, "linestyle": DASHES[place % len(DASHES)]}
    marks = {entrant.label: MARKS[place % len(MARKS)] for place, entrant in enumerate(shown)}
    return Cast(shown, looks, marks, cohorts, len(field) - len(shown))


def unit(part: pd.DataFrame) -> str:
    """Return the unit of the one metric in a table."""
    return str(part["unit"].iloc[0])


def panels_of(panels: int, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side or in rows, and the panels row by row."""
    from matplotlib.figure import Figure as New

    figure = New(figsize=(5.2 * panels + 2.2, 3.8 if rows == 1 else 2.7 * rows), dpi=130, layout="constrained")
    return figure, list(figure.subplots(rows, panels, squeeze=False).flat)


def dress(axis: Axes, title: str, across: str, up: str) -> None:
    """Set the title, the labels and a light frame."""
    axis.set_title(title, loc="left", fontsize=11, color=INK)
    axis.set_xlabel(across, fontsize=10)
    axis.set_ylabel(up, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.2)


def logarithmic(*axes: Axis) -> None:
    """Label logarithmic axes with plain numbers, few enough to be readable."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in axes:
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < FAR * low else (1.0,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())


def front(axis: Axes, points: Sequence[tuple[float, float]], cheap: bool) -> None:
    """Draw the Pareto front: points that no other point beats in both quality and cost (or speed)."""
    sign = 1 if cheap else -1
    best: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=lambda point: (sign * point[0], -point[1])):
        if not best or quality > best[-1][1]:
            best.append((cost, quality))
    across, up = zip(*best, strict=True)
    axis.plot(across, up, color=PALE, linewidth=1, linestyle=":", zorder=0, label="Pareto front")


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Draw one legend, right of the panels."""
    shown = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        shown.update(dict(zip(labels, handles, strict=True)))
    figure.legend(shown.values(), shown.keys(), loc="outside right upper", frameon=False, fontsize=9)


def keep(figure: Figure, path: Path) -> None:
    """Write the figure as PNG for pages and as SVG for papers."""
    save(figure, path.with_suffix(".png"))
    save(figure, path.with_suffix(".svg"))
