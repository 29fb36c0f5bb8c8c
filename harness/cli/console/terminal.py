"""What all commands share: the app, the console, tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.status import Status
from rich.table import Column
from rich.text import Text

from harness.cli.console.pace import Pace
from harness.cli.console.sheet import Sheet
from harness.escaping import terminal

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class Screen(Console):
    """A console for what comes from docstrings, knobs, names and exceptions, third parties' too.

    Nothing in it is read as markup or as a command of the terminal. A `str` is one line, whatever it holds; what is
    meant to have several is a `Text`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(terminal(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        if isinstance(renderable, Text):
            told = lines(renderable.plain)
            # Only what is not as it should be loses the styles of its parts.
            renderable = renderable if told.plain == renderable.plain else Text(told.plain, renderable.style)
        return super().render(renderable, options)


console = Screen()
# What is being done meanwhile: never in the way of what a command is asked for.
aside = Screen(stderr=True, style="dim")
NARROW = 100
"""Columns up to which a bar is short, so that the words beside it have room."""
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", help="A folder of weights; default: HORIZON_WEIGHTS, the Hugging Face cache."),
]
SizeOption = Annotated[str | None, typer.Option("--size", help="HEIGHTxWIDTH in pixels; default: the backbone's.")]
TilingOption = Annotated[bool, typer.Option("--tiling", help="Decode in tiles: less memory, slightly other pictures.")]
OffloadOption = Annotated[bool, typer.Option("--offload", help="Keep the VAE off the device while nothing is decoded.")]
ContainerOption = Annotated[
    str | None,
    typer.Option("--container", help="Of a checkpoint with several: generator_ema, generator, model, ...; bare: none."),
]
ChunkOption = Annotated[
    int | None, typer.Option("--chunk", help="Latent frames drawn together: 1 for frame-wise checkpoints. Default: 3.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback()
def horizon() -> None:
    """Horizon: which memory keeps a video model itself, for how long, and at what price?"""


def lines(text: str, style: str = "") -> Text:
    """Return a text of several lines, as they are."""
    return Text("\n".join(map(terminal, text.split("\n"))), style)


def line(text: str, style: str = "") -> Text:
    """Return a text in one line, with a style of its own in a table."""
    return Text(terminal(text), style)


def table(*columns: str | Text, title: str | None = None) -> Sheet:
    """Return a table without lines that fits the terminal."""
    return Sheet(*columns, title=title)


def progress(disable: bool = False, left: bool = True) -> Progress:
    """A bar for tasks that say their `rate` in words. left: also the time that is left, as rich guesses it."""
    # What names the task is cut, so that how far it is stays legible: percents, rate and time.
    room = console.width - (64 if left else 32)
    named = Column(no_wrap=True, overflow="ellipsis", max_width=max(room, 12))
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=named),
        BarColumn(bar_width=40 if console.width > NARROW else 8),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        *([TimeRemainingColumn()] if left else []),
        console=console,
        transient=True,
        disable=disable,
    )


@contextmanager
def each_told(work: Sequence[str], what: str) -> Iterator[Iterator[str]]:
    """Yield pieces of work one by one; stderr says which one is under way, and how long the rest takes.

    In a terminal that is one line, which goes when all is done; elsewhere it is a line a piece, ten seconds apart at
    least.
    """
    pace = Pace({what: len(work)})

    def pieces(status: Status) -> Iterator[str]:
        for count, piece in enumerate(work, 1):
            left = pace.in_words()
            said = line(f"{what} {piece}, {count} of {len(work)}{f', {left}' if left else ''}")
            status.update(said)
            if not aside.is_terminal and (count == 1 or pace.due()):
                aside.print(said, soft_wrap=True)
            yield piece
            pace.advance(what, 1)

    with aside.status(line(what)) as status:
        yield pieces(status)


def print_json(content: dict[str, Any]) -> None:
    """Print for machines; what JSON does not know is printed as text."""
    # JSON leaves this one control character as it is.
    print(json.dumps(content, indent=2, default=str).replace("\x7f", "\\u007f"))
