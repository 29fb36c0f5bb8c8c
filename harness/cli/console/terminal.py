"""The parts that all commands share: the app, the console, common options, tables and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Column
from rich.text import Text

from harness.cli.console.pace import Pace
from harness.cli.console.sheet import BOUNDLESS, Sheet
from harness.escaping import terminal

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@cache
def command_line() -> Any:
    """Return the click group of all commands, which are registered on `app` by then. Building it takes 0.1 s."""
    return typer.main.get_command(app)


class Screen(Console):
    """A console for text from docstrings, knobs, names and exceptions, including those of plug-ins.

    No text is interpreted as markup or as a control sequence of the terminal. A `str` is always printed as one line; a
    text of several lines is a `Text`. In a pipe or a file no line is broken, unless COLUMNS or `width` says how wide it
    may be.
    """

    def __init__(self, **options: Any) -> None:
        self._limited = "width" in options or os.environ.get("COLUMNS", "").isdigit()
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    @property
    def size(self) -> ConsoleDimensions:
        """Characters of a line, and lines."""
        found = super().size
        return found if self._limited or self.is_terminal else ConsoleDimensions(BOUNDLESS, found.height)

    @size.setter
    def size(self, value: tuple[int, int]) -> None:
        self._width, self._height = value

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(terminal(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        if isinstance(renderable, Text):
            told = lines(renderable.plain)
            # Only a text that had to be escaped loses the styles of its parts.
            renderable = renderable if told.plain == renderable.plain else Text(told.plain, renderable.style)
        return super().render(renderable, options)


console = Screen()
# Progress goes to stderr, so that stdout has the result only.
aside = Screen(stderr=True, style="dim")
NARROW = 100
"""Widest terminal, in characters, with a short progress bar, which leaves room for the text beside it."""
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", help="A folder of weights. Default: HORIZON_WEIGHTS, the Hugging Face cache."),
]
SizeOption = Annotated[str | None, typer.Option("--size", help="HEIGHTxWIDTH in pixels. Default: the backbone's.")]
TilingOption = Annotated[
    bool, typer.Option("--tiling", help="Decode in tiles: less memory, slightly different pictures.")
]
OffloadOption = Annotated[bool, typer.Option("--offload", help="Keep the VAE off the device while nothing is decoded.")]
DecoderOption = Annotated[
    str | None,
    typer.Option("--decoder", help="wan, or light: a small network, slightly different pictures. Default: wan."),
]
ContainerOption = Annotated[
    str | None,
    typer.Option(
        "--container", help="State in a checkpoint with several: generator_ema, generator, model, ...; bare: none."
    ),
]
DtypeOption = Annotated[
    str | None,
    typer.Option("--dtype", help="float32, bfloat16, float16, float64, or fp8: bfloat16 with products in 8 bits."),
]
CompileOption = Annotated[
    str | None,
    typer.Option(
        "--compile",
        help="blocks: compiled, pays off in long videos; graphs: also as CUDA graphs; off. Equal within rounding.",
    ),
]
ChunkOption = Annotated[
    int | None,
    typer.Option("--chunk", help="Latent frames generated together: 1 for frame-wise checkpoints. Default: 3."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback()
def horizon() -> None:
    """Horizon: which memory keeps a video model itself, for how long, and at what price?"""


def lines(text: str, style: str = "") -> Text:
    """Return a text of several lines, escaped for the terminal."""
    return Text("\n".join(map(terminal, text.split("\n"))), style)


def line(text: str, style: str = "") -> Text:
    """Return a text as one line, escaped for the terminal, with its own style in a table."""
    return Text(terminal(text), style)


def table(*columns: str | Text, title: str | None = None) -> Sheet:
    """Return a table without rules that fits the terminal."""
    return Sheet(*columns, title=title)


def progress(disable: bool = False, left: bool = True, screen: Screen | None = None) -> Progress:
    """Return a progress bar for tasks with a text field `rate`.

    Parameters
    ----------
    disable
        Show nothing.
    left
        Also show the time left, as estimated by rich.
    screen
        Where it is shown; None for the standard output.
    """
    # Shorten the name of the task, so that percentage, rate and time stay readable.
    screen = screen or console
    room = screen.width - (64 if left else 32)
    named = Column(no_wrap=True, overflow="ellipsis", max_width=max(room, 12))
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=named),
        BarColumn(bar_width=40 if screen.width > NARROW else 8),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        *([TimeRemainingColumn()] if left else []),
        console=screen,
        transient=True,
        disable=disable,
    )


@contextmanager
def progress_over(work: Sequence[str], what: str) -> Iterator[Iterator[str]]:
    """Yield an iterator over pieces of work that shows the current piece and the time left on stderr.

    In a terminal that is a progress bar, which disappears at the end; elsewhere it is a line per piece, at intervals of
    at least ten seconds.

    Parameters
    ----------
    work
        Names of the pieces.
    what
        The activity, such as "planning".
    """
    pace = Pace({what: len(work)})

    def pieces(bar: Progress) -> Iterator[str]:
        task = bar.add_task(terminal(what), total=len(work), rate="")
        for count, piece in enumerate(work, 1):
            left = pace.in_words()
            bar.update(task, description=terminal(f"{what} {piece}"), rate=f"{count} of {len(work)}")
            if not aside.is_terminal and (count == 1 or pace.due()):
                said = line(f"{what} {piece}, {count} of {len(work)}{f', {left}' if left else ''}")
                aside.print(said, soft_wrap=True)
            yield piece
            pace.advance(what, 1)
            bar.advance(task)

    with progress(disable=not aside.is_terminal, screen=aside) as bar:
        yield pieces(bar)


def print_json(content: dict[str, Any]) -> None:
    """Print JSON; values of types that JSON lacks are printed as text."""
    # `json` does not escape this one control character.
    print(json.dumps(content, indent=2, default=str).replace("\x7f", "\\u007f"))
