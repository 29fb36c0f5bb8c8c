"""The command that checks this machine: `horizon doctor`."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from harness.cli.compare import OUT
from harness.cli.console import checks
from harness.cli.console.terminal import (
    DecoderOption,
    Json,
    WeightsOption,
    app,
    aside,
    console,
    line,
    print_json,
    table,
)
from harness.errors import PresetError, shown

if TYPE_CHECKING:
    from harness.doctor import Check

STYLES = {"ok": "green", "limited": "yellow", "broken": "bold red"}
SUMS = {
    "ok": "All is well.",
    "limited": "It works, with the limits above.",
    "broken": "It does not work: see above.",
}
"""Last line of the command's output, by the worst state."""


@app.command()
def doctor(
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, ...; the GPU if there is one, unless given.")
    ] = None,
    backbone: Annotated[str, typer.Option(help="Whose weights and sizes are checked.")] = "pocket",
    out: Annotated[Path, typer.Option(help="The folder of a campaign, which need not exist.")] = OUT,
    seconds: Annotated[
        float, typer.Option(callback=checks.length, help="Length of the video that strategies must fit for.")
    ] = 60.0,
    weights: WeightsOption = None,
    decoder: DecoderOption = None,
    as_json: Json = False,
) -> None:
    """Check this machine: devices, kernels, encoders, weights, the campaign's folder, and what fits. A minute at most.

    Exit code 0 where all is well, 1 where something limits it, 2 where it cannot work as asked.
    """
    from harness.doctor import EXIT_CODES, Patient, Probes, examine, worst

    if device is not None and re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", device) is None:
        raise PresetError(f"device {shown(device)} is not known; allowed: cpu, cuda, cuda:1, ...")
    found: list[Check] = []
    with aside.status(line("examining this machine")) as status:
        for check in examine(Patient(device, backbone, weights, out, seconds, decoder), Probes()):
            found.append(check)
            status.update(line(f"examining this machine: {check.group}, {check.name}"))
    state = worst(found)
    if as_json:
        print_json({
            "device": device, "backbone": backbone, "folder": out, "state": state, "exit_code": EXIT_CODES[state],
            "checks": [dataclasses.asdict(check) for check in found],
        })  # fmt: skip
    else:
        _tell(found)
        console.print(line(SUMS[state], STYLES[state]))
    if EXIT_CODES[state]:
        raise typer.Exit(EXIT_CODES[state])


def _tell(found: list[Check]) -> None:
    """Print a table of all checks, then a line of advice for each that is not well."""
    sheet = table("", "check", "", "found")
    group = None
    for check in found:
        named = line(check.group if check.group != group else "", "dim")
        sheet.add_row(named, line(check.name, "bold"), Text(check.state, STYLES[check.state]), line(check.found))
        group = check.group
    console.print(sheet)
    console.print()
    for check in found:
        if check.advice:
            about = line(f"{check.group}, {check.name}: {check.advice}", STYLES[check.state])
            console.print(about, soft_wrap=not console.is_terminal)
