"""The command that measures the properties of a backbone that a strategy needs: `horizon calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console import checks
from harness.cli.console.terminal import (
    ChunkOption,
    ContainerOption,
    OffloadOption,
    SizeOption,
    TilingOption,
    WeightsOption,
    app,
    console,
    progress,
)  # fmt: skip
from harness.errors import HorizonError


@app.command()
def calibrate(
    what: Annotated[str, typer.Argument(help="A strategy that needs a calibration: forcing_kv.")],
    backbone: Annotated[str, typer.Option(help="Which backbone; it needs prompts of its own.")] = "pocket",
    rollouts: Annotated[int, typer.Option(min=1, help="Videos that are made, as long as it was trained for.")] = 8,
    seed: Annotated[int, typer.Option(callback=checks.seed, help="Seed of their noise.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    weights: WeightsOption = None,
    size: SizeOption = None,
    tiling: TilingOption = False,
    offload: OffloadOption = False,
    container: ContainerOption = None,
    chunk: ChunkOption = None,
    out: Annotated[Path | None, typer.Option(help="The file. Default: runs/WHAT-BACKBONE.json.")] = None,
    install: Annotated[bool, typer.Option(help="Write the file also where the package reads it.")] = False,
) -> None:
    """Make the file that a strategy needs for a backbone, such as the classes of its heads, from rollouts."""
    from harness import registry
    from harness.campaign.options import backbone_request, computing
    from harness.files import write_text
    from harness.training.calibration import Calibration

    name, made = registry.parse_strategy(what)
    if name not in registry.found("calibrations"):
        raise HorizonError(f"{name} needs no calibration; allowed: {', '.join(registry.found('calibrations'))}")
    calibration: Calibration = registry.load("calibrations", name)
    request = backbone_request(
        backbone,
        device=computing(device),
        weights=str(weights) if weights else None,
        size=size,
        tiling=tiling,
        offload=offload,
        container=container,
        chunk=chunk,
    )
    stage = registry.open_backbone(request)
    with progress() as bar:
        task = bar.add_task(f"{name} on {backbone}", total=rollouts, rate="")
        text, found = calibration.calibrate(
            made, stage, rollouts=rollouts, seed=seed, report=lambda done: bar.update(task, completed=done)
        )
    path = out or Path("runs") / f"{name}-{backbone}.json"
    try:
        for place in (path, *([calibration.shipped(backbone)] if install else [])):
            place.parent.mkdir(parents=True, exist_ok=True)
            write_text(place, text)
    except OSError as error:
        raise HorizonError(f"cannot write {path}: {error.strerror}; give --out another place") from None
    use = "read by default now" if install else f"use it with {name}.{calibration.knob()}={path}"
    console.print(f"{name} on {backbone}: {found}; {path}, {use}", soft_wrap=True, markup=False)
