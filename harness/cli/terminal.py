"""What all commands share: the app, the console, tables and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
# What is printed comes from docstrings, knobs and exceptions, third parties' too: never read it as markup.
console = Console(highlight=False, markup=False, emoji=False)
# What is being done meanwhile: never in the way of what a command is asked for.
aside = Console(highlight=False, markup=False, emoji=False, stderr=True, style="dim")
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


def table(*columns: str, title: str | None = None) -> Table:
    """A table without lines that folds long cells."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def progress(disable: bool = False) -> Progress:
    """A bar for tasks that say their `rate` in words."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=disable,
    )


def print_json(content: dict[str, Any]) -> None:
    """Print for machines; what JSON does not know is printed as text."""
    print(json.dumps(content, indent=2, default=str))
