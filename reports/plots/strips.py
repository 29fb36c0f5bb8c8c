"""Filmstrips and training curves."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from harness.escaping import plot_text
from harness.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, PALE = "#333333", "#888888"
LABEL = 26
"""Characters in a line of a label."""
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5")


def filmstrip(
    rows: Sequence[Tensor], path: Path, times: Sequence[str] = (), labels: Sequence[str] = (), title: str = ""
) -> None:
    """Draw rows of pictures [T, 3, H, W] in 0..1 as one PNG, with times above the columns and a label for each row."""
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    wrapped = [wrap(label, LABEL) or [""] for label in labels]
    first = rows[0]
    side, aspect = 0.9, first.shape[-1] / first.shape[-2] if len(first) else 1.0
    across, margin = side * aspect, 0.15 + 0.075 * max((len(line) for lines in wrapped for line in lines), default=0)
    head = 0.12 + 0.2 * bool(times) + 0.3 * bool(title)
    width, height = margin + across * columns + 0.12, head + side * len(rows) + 0.1
    figure = Figure(figsize=(width, height), dpi=120)
    # One pair of axes in inches, since hundreds of axes take many seconds.
    axes = figure.add_axes((0, 0, 1, 1))
    for index, row in enumerate(rows):
        bottom = height - head - side * (index + 1)
        for column, picture in enumerate(row):
            left = margin + across * column
            axes.imshow(
                picture.float().cpu().permute(1, 2, 0).clamp(0, 1).numpy(),
                extent=(left + 0.03, left + across - 0.03, bottom + 0.03, bottom + side - 0.03),
                interpolation="nearest",
                aspect="auto",
            )
            if index == 0 and column < len(times):
                middle = left + across / 2
                axes.text(middle, bottom + side + 0.01, times[column], ha="center", fontsize=8, color=PALE)
        if index < len(labels):
            said = "\n".join(wrapped[index])
            axes.text(margin - 0.08, bottom + side / 2, said, ha="right", va="center", fontsize=8, color=INK)
    if title:
        axes.text(0.12, height - 0.12, title, va="top", fontsize=9, color=INK)
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    save(figure, path)


def training_curve(lines: Sequence[dict[str, float]], path: Path, title: str) -> None:
    """Draw loss against steps: every step faintly, a running mean, and a line for each noise level."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    steps = np.array([line["step"] for line in lines])
    loss = np.array([line["loss"] for line in lines])
    axes.plot(steps, loss, color=COLOURS[0], alpha=0.25, linewidth=0.6)
    axes.plot(*_smoothed(steps, loss), color=COLOURS[0], linewidth=1.6, label="all")
    levels = sorted({key for line in lines for key in line if key.startswith("loss_")}, reverse=True)
    for colour, level in zip(COLOURS[1:], levels, strict=False):
        there = [(line["step"], line[level]) for line in lines if level in line]
        axes.plot(
            *_smoothed(*map(np.array, zip(*there, strict=True))), color=colour, linewidth=1, label=f"noise {level[5:]}"
        )
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.set_title(title, fontsize=10, loc="left", color=INK)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2, which="both")
    save(figure, path)


def _smoothed(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    width = max(1, min(50, len(values) // 10))
    kernel = np.ones(width) / width
    return steps[width - 1 :], np.convolve(values, kernel, "valid")


def save(figure: Figure, path: Path) -> None:
    """Write a figure atomically, in the format of its suffix. Texts are drawn literally; mathematical notation is used
    only for the numbers along the axes."""
    from matplotlib.text import Text

    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    ticks = [tick for axis in axes for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())]
    numbers = {id(label) for tick in ticks for label in (tick.label1, tick.label2)}
    for text in figure.findobj(Text):
        if id(text) not in numbers:
            text.set_text(plot_text(text.get_text()))
            text.set_parse_math(False)
    with warnings.catch_warnings():
        # A missing glyph is drawn as a box, which the reader sees; the error stream is for failures.
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        write_whole(path, figure.savefig)
