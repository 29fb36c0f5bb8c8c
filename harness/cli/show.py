"""The commands about strategies, suites, metrics and backbones: `horizon list | describe | verify`."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from harness.cli.console.sheet import reflowed
from harness.cli.console.terminal import (
    DecoderOption,
    Json,
    Screen,
    WeightsOption,
    app,
    console,
    line,
    lines,
    print_json,
    table,
)
from harness.errors import HorizonError, PresetError, RegistryError, UnknownNameError
from harness.escaping import terminal

if TYPE_CHECKING:
    from harness.registry import Group

STATES = {"pass": "green", "fail": "bold red", "n/a": "dim"}
GROUPS: tuple[Group, ...] = ("suites", "metrics", "backbones")
"""Groups of entry points that `horizon list` and `horizon describe` know besides strategies."""
FEW = 8
"""Most knobs in a line of the list."""


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the registered strategies, suites, metrics and backbones."""
    from harness import registry

    strategies = [_about_strategy(name) for name in registry.found("strategies")]
    others: dict[str, list[dict[str, str]]] = {group: _abouts(group) for group in GROUPS}
    if as_json:
        print_json({"strategies": strategies, **others})
        return
    sheet = table("strategy", "idea", "knobs and their defaults")
    for about in strategies:
        knobs = [f"{knob}={_default(value)}" for knob, value in about["knobs"].items()]
        more = [f"and {len(knobs) - FEW} more"] if len(knobs) > FEW else []
        sheet.add_row(line(about["name"], "bold"), about["about"], ", ".join([*knobs[:FEW], *more]) or "none")
    console.print(sheet)
    for group, rows in others.items():
        if rows:
            sheet = table(group.removesuffix("s"), "what it is")
            for row in rows:
                sheet.add_row(line(row["name"], "bold"), row.get("about", ""))
            console.print(sheet)
    console.print("horizon describe NAME says more about one of them.", style="dim")


def _abouts(group: Group) -> list[dict[str, str]]:
    """Return the names of a group, each with its summary."""
    from harness import registry

    return [{"name": name, "about": _summary(registry.load(group, name))} for name in registry.found(group)]


@app.command()
def describe(
    name: Annotated[str, typer.Argument(help="A strategy, a suite, a metric or a backbone.")],
    weights: WeightsOption = None,
    decoder: DecoderOption = None,
    as_json: Json = False,
) -> None:
    """Describe a strategy (its memory, its knobs, its price at Wan size), a suite, a metric, or a backbone with the
    files that it needs."""
    from harness import registry

    if name in registry.found("backbones"):
        _describe_backbone(name, weights, decoder, as_json)
        return
    for option, value in (("--weights", weights), ("--decoder", decoder)):
        if value is not None and any(name in registry.found(group) for group in ("strategies", *GROUPS)):
            raise PresetError(f"{option} is for backbones, and {name!r} is none; leave it out")
    if name in registry.found("suites"):
        _describe_suite(name, as_json)
        return
    if name in registry.found("metrics"):
        _describe_metric(name, as_json)
        return
    try:
        about = _about_strategy(name)
    except UnknownNameError as error:
        others = "; ".join(f"{group}: {', '.join(registry.found(group))}" for group in GROUPS)
        raise UnknownNameError(f"{error}; {others}") from None
    about["price"] = _prices(name)
    if as_json:
        print_json(about)
        return
    console.print(Text.assemble((terminal(name), "bold"), f"  {terminal(about['paper'])}\n"))
    console.print(lines(reflowed(about["text"], console.width) + "\n"), soft_wrap=True)
    if about["knobs"]:
        sheet = table("knob", "default", "allowed")
        for knob, value in about["knobs"].items():
            sheet.add_row(knob, _default(value), value["allowed"])
        console.print(sheet)
    if not about["price"]:
        return
    console.print()
    sizes = {"held": "held_bytes", "laid out": "laid_out_bytes", "archived": "archive_bytes"}
    shown = {head: size for head, size in sizes.items() if any(size in price for price in about["price"])}
    sheet = table("horizon", "latent frames", *shown, title="Price at Wan2.1-1.3B, 480x832, bfloat16")
    for price in about["price"]:
        figures = (f"{price.get(size, 0) / 1e9:,.2f} GB" for size in shown.values())
        sheet.add_row(price["horizon"], f"{price['latent_frames']:,}", *figures)
    console.print(sheet)
    archived = " archived: in the host's memory, growing with the video." if "archived" in shown else ""
    about_sizes = "held: cached between chunks. laid out: contexts ready to attend to (layout='pass': a 30th)."
    console.print(about_sizes + archived, style="dim")


@app.command()
def verify(
    strategy: Annotated[str, typer.Argument(help="NAME or NAME.KNOB=VALUE[,KNOB=VALUE], e.g. memrope.window=9,sink=1")],
    as_json: Json = False,
) -> None:
    """Check the invariants that every memory must satisfy, on a tiny random backbone. This takes seconds."""
    from harness import registry
    from harness.verify.run import verify as run

    _, made = registry.parse_strategy(strategy)
    with Screen(stderr=True).status(line(f"verifying {made!r}")):
        findings = run(made)
    broken = [finding for finding in findings if finding.state == "fail"]
    if as_json:
        print_json({"strategy": strategy, "knobs": made.knobs(), "findings": [dataclasses.asdict(f) for f in findings]})
    else:
        sheet = table("invariant", "", "what was found", title=repr(made))
        for finding in findings:
            sheet.add_row(finding.invariant, Text(finding.state, STATES[finding.state]), finding.detail)
        console.print(sheet)
        passed = sum(finding.state == "pass" for finding in findings)
        rest = len(findings) - passed - len(broken)
        console.print(f"{passed} passed, {len(broken)} failed, {rest} do not apply")
    if broken:
        raise typer.Exit(1)


def _about_strategy(name: str) -> dict[str, Any]:
    from harness import registry
    from harness.memory.knobs import describe_knobs

    kind = registry.strategy_class(name)
    # A strategy of several files is registered by its package, whose docstring describes them together.
    module = inspect.getdoc(sys.modules[registry.found("strategies")[name].module]) or ""
    return {
        "name": name,
        "about": _summary(kind),
        "paper": kind.paper,
        "knobs": describe_knobs(kind),
        "text": f"{module}\n\n{inspect.getdoc(kind) or ''}".strip(),
    }


def _prices(name: str) -> list[dict[str, Any]]:
    """Return the bytes of the memory and of its contexts at Wan size, by horizon."""
    from harness import registry
    from harness.backbone.presets import wan_1_3b
    from harness.rollout.request import laid_out_bytes

    try:
        strategy = registry.strategy(name)
        spec = strategy.adapt(wan_1_3b("meta")).memory_spec()
        capacity = strategy.open(spec).capacity
    except HorizonError:
        # Knobs of a plug-in may have no defaults, or none that fit a chunk of 3.
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
            **({"archive_bytes": archived} if (archived := strategy.archive_bytes(spec, frames)) else {}),
        }
        for horizon, frames in horizons.items()
    ]


def _describe_suite(name: str, as_json: bool) -> None:
    from harness import registry

    suite = registry.load("suites", name)()
    metrics = {key: dataclasses.asdict(metric) for key, metric in suite.all_metrics.items()}
    if as_json:
        print_json({"name": name, "version": suite.version, "tiers": list(suite.tiers), "metrics": metrics})
        return
    console.print(
        Text.assemble((terminal(name), "bold"), f"  version {suite.version}, tiers {', '.join(suite.tiers)}\n")
    )
    text = inspect.getdoc(sys.modules[type(suite).__module__]) or ""
    console.print(lines(reflowed(text, console.width) + "\n"), soft_wrap=True)
    sheet = table("metric", "unit", "better", "what it is")
    for key, metric in metrics.items():
        sheet.add_row(key, metric["unit"], metric["better"], metric["about"])
    console.print(sheet)


def _describe_metric(name: str, as_json: bool) -> None:
    from harness import registry

    kind = registry.load("metrics", name)
    about = {"name": name, **dataclasses.asdict(kind.metric), "remedy": kind().remedy()}
    if as_json:
        print_json(about)
        return
    console.print(Text.assemble((terminal(name), "bold"), f"  {terminal(_summary(kind))}\n"))
    sheet = table("unit", "better", "what it is")
    sheet.add_row(about["unit"], about["better"], about["about"])
    console.print(sheet)
    if about["remedy"]:
        console.print(line(f"It cannot run here: {about['remedy']}", "yellow"), soft_wrap=True)


def _describe_backbone(name: str, weights: Path | None, decoder: str | None, as_json: bool) -> None:
    from harness import registry
    from harness.backbone.published.backbones import BY_NAME, files_of
    from harness.backbone.request import BackboneRequest

    options: dict[str, Any] = {"weights": weights} if name in BY_NAME and weights else {}
    options |= {"decoder": decoder} if decoder else {}
    made = registry.open_backbone(BackboneRequest(name=name, device="meta", options=options))
    files = files_of(name, weights, decoder or "wan")
    parameters = list(made.model.parameters())
    about: dict[str, Any] = {
        "name": name,
        "about": inspect.getdoc(registry.load("backbones", name)),
        "parameters": sum(p.numel() for p in parameters),
        "tensors": len(parameters),
        "bytes": sum(p.nbytes for p in parameters),
        "dtype": made.dtype,
        "config": dataclasses.asdict(made.model.config),
        "steps": made.sampler.steps,
        "timesteps": [round(step, 4) for step in made.sampler.timesteps],
        "shift": made.sampler.shift,
        "chunk": made.chunk,
        "independent_first_frame": made.independent_first_frame,
        "trained_frames": made.trained_frames,
        "latent_size": made.latent_size,
    }
    if name in BY_NAME:
        about |= {"licence": BY_NAME[name].licence, "published_with": BY_NAME[name].recommended}
    if as_json:
        told = [
            {**dataclasses.asdict(each.artifact), "found": each.path, "own": each.own, "trouble": each.trouble}
            for each in files
        ]
        print_json({**about, **({"files": told} if files else {})})
        return
    console.print(Text.assemble((name, "bold"), f"\n\n{about.pop('about')}\n"))
    del about["name"]
    sheet = table("what", "value")
    for what, value in (about | about.pop("config")).items():
        sheet.add_row(what.replace("_", " "), f"{value:,}" if type(value) is int else _word(value))
    console.print(sheet)
    if files:
        from harness.cli.backbone_files import tell_files

        tell_files(files, weights)


def _summary(thing: object) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def _word(value: object) -> str:
    return "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _default(knob: dict[str, Any]) -> str:
    from harness.memory.knobs import spelled

    return spelled(knob["default"]) if "default" in knob else "(needed)"
