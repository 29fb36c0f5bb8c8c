"""The command line: `horizon list | describe | verify`.

Exit codes: 0 done, 1 an invariant is broken, 2 a mistake in the request (one line on the error stream).
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import HorizonError, RegistryError, UnknownNameError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
# What is printed comes from docstrings, knobs and exceptions, third parties' too: never read it as markup.
console = Console(highlight=False, markup=False, emoji=False)
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
STATES = {"pass": "green", "fail": "bold red", "n/a": "dim"}


@app.callback()
def horizon() -> None:
    """Horizon: which memory keeps a video model itself, for how long, and at what price?"""


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the registered strategies, suites and backbones."""
    from harness import registry

    strategies = [_about_strategy(name) for name in registry.found("strategies")]
    suites = [{"name": name} for name in registry.found("suites")]
    backbones = [
        {"name": name, "about": _summary(registry.load("backbones", name))} for name in registry.found("backbones")
    ]
    if as_json:
        _print_json({"strategies": strategies, "suites": suites, "backbones": backbones})
        return
    table = _table("strategy", "idea", "knobs and their defaults")
    for about in strategies:
        knobs = ", ".join(f"{knob}={_default(value)}" for knob, value in about["knobs"].items())
        table.add_row(Text(about["name"], "bold"), about["about"], knobs or "none")
    console.print(table)
    for title, rows in (("backbone", backbones), ("suite", suites)):
        if rows:
            table = _table(title, "what it is")
            for row in rows:
                table.add_row(Text(row["name"], "bold"), row.get("about", ""))
            console.print(table)
    console.print("horizon describe NAME says more about one of them.", style="dim")


@app.command()
def describe(name: Annotated[str, typer.Argument(help="A strategy or a backbone.")], as_json: Json = False) -> None:
    """Say what a strategy keeps, its knobs and its price at Wan size; or what a backbone is."""
    from harness import registry

    if name in registry.found("backbones"):
        _describe_backbone(name, as_json)
        return
    try:
        about = _about_strategy(name)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}; backbones: {', '.join(registry.found('backbones'))}") from None
    about["price"] = _prices(name)
    if as_json:
        _print_json(about)
        return
    console.print(Text.assemble((name, "bold"), f"  {about['paper']}\n"))
    console.print(about["text"] + "\n", soft_wrap=True)
    if about["knobs"]:
        table = _table("knob", "default", "allowed")
        for knob, value in about["knobs"].items():
            table.add_row(knob, _default(value), value["allowed"])
        console.print(table)
    if not about["price"]:
        return
    console.print()
    table = _table("horizon", "latent frames", "held", "laid out", title="Price at Wan2.1-1.3B, 480x832, bfloat16")
    for price in about["price"]:
        table.add_row(
            price["horizon"],
            f"{price['latent_frames']:,}",
            f"{price['held_bytes'] / 1e9:,.2f} GB",
            f"{price['laid_out_bytes'] / 1e9:,.2f} GB",
        )
    console.print(table)
    console.print(
        "held: cached between chunks. laid out: contexts ready to attend to (layout='pass': a 30th).", style="dim"
    )


@app.command()
def verify(
    strategy: Annotated[str, typer.Argument(help="NAME or NAME.KNOB=VALUE[,KNOB=VALUE], e.g. memrope.window=9,sink=1")],
    as_json: Json = False,
) -> None:
    """Run the invariants that every memory owes its users, on a tiny random backbone. Takes seconds."""
    from harness import registry
    from harness.verify import verify as run

    _, made = registry.parse_strategy(strategy)
    with Console(stderr=True).status(Text(f"verifying {made!r}")):
        findings = run(made)
    broken = [finding for finding in findings if finding.state == "fail"]
    if as_json:
        _print_json(
            {"strategy": strategy, "knobs": made.knobs(), "findings": [dataclasses.asdict(f) for f in findings]}
        )
    else:
        table = _table("invariant", "", "what was found", title=repr(made))
        for finding in findings:
            table.add_row(finding.invariant, Text(finding.state, STATES[finding.state]), finding.detail)
        console.print(table)
        passed = sum(finding.state == "pass" for finding in findings)
        rest = len(findings) - passed - len(broken)
        console.print(f"{passed} passed, {len(broken)} failed, {rest} do not apply")
    if broken:
        raise typer.Exit(1)


def main() -> None:
    """The console command: every mistake of a user is one line and exit code 2, never a traceback."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except HorizonError as error:
        _fail(str(error))
    except typer.TyperException as error:
        _fail(f"{error.format_message().rstrip('.')} (horizon --help shows what there is)")
    except BrokenPipeError:
        # The reader went away (`horizon list | head`); nothing is left to say to it.
        _discard_output()
        sys.exit(1)
    except OSError as error:
        _discard_output()
        _fail(f"cannot write the output: {error.strerror or error}")
    sys.exit(code or 0)


def _discard_output() -> None:
    """Point the standard output elsewhere, so that Python does not fail on it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> None:
    print("horizon: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)


def _about_strategy(name: str) -> dict[str, Any]:
    from harness import registry
    from harness.knobs import describe_knobs

    kind = registry.strategy_class(name)
    module = inspect.getdoc(sys.modules[kind.__module__]) or ""
    return {
        "name": name,
        "about": _summary(kind),
        "paper": kind.paper,
        "knobs": describe_knobs(kind),
        "text": f"{module}\n\n{inspect.getdoc(kind) or ''}".strip(),
    }


def _prices(name: str) -> list[dict[str, Any]]:
    """Bytes that the memory and its contexts take at Wan size, per horizon."""
    import torch

    from harness import registry
    from harness.backbone.layout import DenseLayout
    from harness.memory import MemorySpec
    from harness.request import laid_out_bytes

    spec = MemorySpec(30, DenseLayout(12, 128), 30 * 52, 3, dtype=torch.bfloat16, device=torch.device("meta"))
    try:
        strategy = registry.strategy(name)
        capacity = strategy.open(spec).capacity
    except HorizonError:
        # A third party's knobs may have no defaults, or none that fit a chunk of 3.
        return []
    except Exception as error:
        raise RegistryError(f"{name!r} cannot be opened: {type(error).__name__}: {error}") from error
    horizons = {"5 s": 21, "30 s": 120, "60 s": 240, "4 min": 960, "1 h": 14400, "24 h": 345600}
    return [
        {
            "horizon": horizon,
            "latent_frames": frames,
            "held_bytes": strategy.footprint(spec, frames),
            "laid_out_bytes": laid_out_bytes(spec, frames, capacity),
        }
        for horizon, frames in horizons.items()
    ]


def _describe_backbone(name: str, as_json: bool) -> None:
    from harness import registry

    made = registry.backbone(name, device="meta")
    parameters = list(made.model.parameters())
    about: dict[str, Any] = {
        "name": name,
        "about": inspect.getdoc(registry.load("backbones", name)),
        "parameters": sum(p.numel() for p in parameters),
        "tensors": len(parameters),
        "bytes": sum(p.nbytes for p in parameters),
        "dtype": str(made.model.dtype).removeprefix("torch."),
        "config": dataclasses.asdict(made.model.config),
        "steps": made.sampler.steps,
        "timesteps": [round(step, 4) for step in made.sampler.timesteps],
        "shift": made.sampler.shift,
        "chunk": made.chunk,
        "independent_first_frame": made.independent_first_frame,
        "trained_frames": made.trained_frames,
        "latent_size": made.latent_size,
    }
    if as_json:
        _print_json(about)
        return
    console.print(Text.assemble((name, "bold"), f"\n\n{about.pop('about')}\n"))
    del about["name"]
    table = _table("what", "value")
    for what, value in (about | about.pop("config")).items():
        table.add_row(what.replace("_", " "), f"{value:,}" if type(value) is int else _word(value))
    console.print(table)


def _summary(thing: object) -> str:
    """The first sentence of a docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def _word(value: object) -> str:
    return "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _default(knob: dict[str, Any]) -> str:
    return _word(knob["default"]) if "default" in knob else "(needed)"


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=2, default=str))


if __name__ == "__main__":
    main()
