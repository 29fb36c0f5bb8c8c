"""The command that plans: `horizon plan`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from harness.cli.console import checks
from harness.cli.console.terminal import ChunkOption, Json, app, aside, console, line, print_json, progress_over, table
from harness.errors import HorizonError, ShapeError, did_you_mean
from harness.limits import LARGEST_SIDE

if TYPE_CHECKING:
    from harness.backbone.presets import Backbone
    from harness.cli.console.sheet import Sheet
    from harness.plan.device import Device
    from harness.plan.planning import Plan

GPUS = ("H100", "H200", "B200", "A100", "A6000", "4090")
GB = 1e9


@app.command()
def plan(
    strategy: Annotated[list[str] | None, typer.Option(help="NAME[.KNOB=VALUE,...]; repeat. Default: all.")] = None,
    backbone: Annotated[str, typer.Option(help="Only its shapes are used.")] = "wan-1.3b",
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH in pixels. Default: the backbone's size.")] = None,
    seconds: Annotated[float, typer.Option(callback=checks.length, help="Length of the video.")] = 60.0,
    gpu: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(GPUS)}, or here: this machine, measured; repeat. Default: H100."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="Data type of the model and of the cache.")] = "bfloat16",
    chunk: ChunkOption = None,
    out: Annotated[
        Path | None, typer.Option(callback=checks.file, help="Also draw memory and time side by side into this PNG.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute the expected cost of strategies: bytes, operations, and the least time of a chunk on a device."""
    from harness import registry
    from harness.backbone.presets import parse_dtype
    from harness.campaign.options import backbone_request
    from harness.errors import KnobError
    from harness.plan.device import HERE
    from harness.plan.planning import plan as make
    from reports.plots.plan import picture

    kind = parse_dtype(dtype)
    devices = [_device(name, kind) for name in gpu or ("H100",)]
    stage = registry.open_backbone(backbone_request(backbone, device="meta", dtype=dtype, chunk=chunk))
    latent_size = _latent_size(size, stage)
    if out is not None and out.suffix != ".png":
        raise HorizonError(f"--out {out}: the picture is a PNG file; give a name that ends in .png")
    frames = max(2, round(seconds * stage.latents_per_second / stage.chunk)) * stage.chunk
    plans: list[tuple[str, Plan]] = []
    # Mistakes are reported before the first plan, which may take long.
    chosen = {name: registry.parse_strategy(name)[1] for name in strategy or list(registry.found("strategies"))}
    for made in chosen.values() if strategy else ():
        made.open(made.adapt(stage).memory_spec(latent_size=latent_size))
    with progress_over(list(chosen), "planning") as names:
        for name in names:
            made = chosen[name]
            length = frames if made.bounded else min(frames, stage.trained_frames // stage.chunk * stage.chunk)
            try:
                plans.append((name, make(made, stage, latent_size, length)))
            except KnobError as error:
                if strategy:
                    raise
                aside.print(line(f"{name}: {error}", "yellow"))
    if as_json:
        told = [_told(name, one, stage, devices) for name, one in plans]
        about = {"backbone": backbone, "latent_size": latent_size, "dtype": dtype, "gpus": [d.name for d in devices]}
        print_json({**about, "strategies": told})
    else:
        _tables(plans, devices, stage, latent_size, HERE)
    if out is not None:
        picture(plans, devices, out, f"{backbone}, {_pixels(latent_size, stage)}, {dtype}")
        if not as_json:
            console.print(f"{out}")


def _tables(
    plans: list[tuple[str, Plan]], devices: list[Device], stage: Backbone, latent_size: tuple[int, int], here: str
) -> None:
    chunk = f"{stage.chunk} latent frame{'s' * (stage.chunk > 1)} a chunk"
    title = f"{stage.name}, {_pixels(latent_size, stage)}, batch 1, {chunk}"
    # Few memories archive anything.
    archives = ("archived (GB)",) if any(one.archive_bytes for _, one in plans) else ()
    heads = ("latent frames", "cached (GB)", "laid out (GB)", "in all (GB)", "kB a token", *archives)
    memory = _sheet(*heads, title=title)
    work = _sheet("TFLOP a pass", "a chunk", "GB moved a pass", "a chunk")
    for name, one in plans:
        moved, flops = one.bytes_per_chunk / GB, one.flops_per_chunk / 1e12
        held = (one.cache_bytes, one.laid_out_bytes, one.peak_bytes)
        _add(memory, name, f"{one.latent_frames:,}", *(f"{size / GB:,.2f}" for size in held),
             f"{one.cache_bytes_per_token / 1e3:.3g}",
             *(f"{one.archive_bytes / GB:,.2f}" for _ in archives))  # fmt: skip
        _add(work, name, *(f"{x:,.4g}" for x in (flops / one.passes, flops, moved / one.passes, moved)))
    sheets = [memory, work]
    for device in devices:
        measured = ", measured now" if device.name.startswith(here) else ""
        about = f"{device.flops / 1e12:.3g} TFLOP/s, {device.bandwidth / GB:,.4g} GB/s{measured}"
        bounds = _sheet("chunk at least (ms)", "FPS at most", "bound by", "memory", title=f"{device.name}: {about}")
        for name, one in plans:
            bound, room = one.bound(device), device.memory / GB - one.peak_bytes / GB
            fits = f"{room:,.0f} GB left" if room >= 0 else Text(f"{-room:,.0f} GB short", "bold red")
            fps = one.frames_per_second(bound.chunk_seconds)
            side = f"{bound.binding}, {bound.share:.0%}"
            _add(bounds, name, f"{1000 * bound.chunk_seconds:,.0f}", f"{fps:,.3g}", side, fits)
        sheets.append(bounds)
    for sheet in sheets:
        console.print(sheet)
        console.print()
    archived = "archived: in the host's memory at the end of the video, which grows with it. " if archives else ""
    console.print(
        "cached: held between chunks. laid out: contexts ready to attend to (layout='pass': one layer's). in all: with "
        f"weights and what a chunk needs on top; text encoder and decoder not. {archived}FPS: pixel frames of the DiT "
        "alone. Real kernels reach 40 to 80 % of such a bound.",
        style="dim",
    )


def _sheet(*heads: str, title: str | None = None) -> Sheet:
    sheet = table("strategy", *heads, title=title)
    for column in sheet.columns[1:]:
        column.justify = "right"
    return sheet


def _add(sheet: Sheet, name: str, *cells: str | Text) -> None:
    sheet.add_row(line(name, "bold"), *cells)


def _told(name: str, one: Plan, stage: Backbone, devices: list[Device]) -> dict[str, Any]:
    from harness import registry

    bounds = [(device, one.bound(device)) for device in devices]
    first = bounds[0][1]
    return {
        "name": registry.parse_strategy(name)[0],
        "knobs": one.strategy.knobs(),
        "latent_frames": one.latent_frames,
        "pixel_frames": stage.pixel_frames(one.latent_frames),
        "cache_bytes": one.cache_bytes,
        "archive_bytes": one.archive_bytes,
        "cache_bytes_per_token": one.cache_bytes_per_token,
        "laid_out_bytes": one.laid_out_bytes,
        "laid_out_bytes_pass": one.shared_bytes,
        "weights_bytes": one.weights_bytes,
        "activation_bytes": one.activation_bytes,
        "peak_bytes": one.peak_bytes,
        "passes": one.passes,
        "flops_per_chunk": one.flops_per_chunk,
        "bytes_moved_per_chunk": one.bytes_per_chunk,
        "chunk_seconds_bound": first.chunk_seconds,
        "fps_bound": one.frames_per_second(first.chunk_seconds),
        "bound_by": first.binding,
        "gpus": {
            device.name: {
                "chunk_seconds_bound": bound.chunk_seconds,
                "fps_bound": one.frames_per_second(bound.chunk_seconds),
                "bound_by": bound.binding,
                "share": bound.share,
                "fits": one.peak_bytes <= device.memory,
            }
            for device, bound in bounds
        },
    }


def _device(name: str, dtype: Any) -> Device:
    import torch

    from harness.plan.device import DEVICES, HERE, here

    if name == HERE:
        return here(dtype, "cuda" if torch.cuda.is_available() else "cpu")
    found = {known.lower(): device for known, device in DEVICES.items()}.get(name.lower())
    if found is None:
        hint = did_you_mean(name.upper(), DEVICES)
        raise HorizonError(f"--gpu {name}: unknown{hint}; allowed: {', '.join(DEVICES)}, {HERE} (this machine)")
    return found


def _latent_size(size: str | None, stage: Backbone) -> tuple[int, int]:
    if size is None:
        return stage.latent_size
    found = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", size.lower())
    cell = [stage.stride * side for side in stage.model.config.patch_size[1:]]
    if found is None or any(
        int(side) % step or not 1 <= int(side) <= LARGEST_SIDE for side, step in zip(found.groups(), cell, strict=True)
    ):
        raise ShapeError(
            f"--size {size[:40]}: needed: HEIGHTxWIDTH in pixels, e.g. {_pixels(stage.latent_size, stage)}, multiples "
            f"of {cell[0]} and {cell[1]} up to {LARGEST_SIDE:,}"
        )
    height, width = map(int, found.groups())
    return height // stage.stride, width // stage.stride


def _pixels(latent_size: tuple[int, int], stage: Backbone) -> str:
    return f"{latent_size[0] * stage.stride}x{latent_size[1] * stage.stride}"
