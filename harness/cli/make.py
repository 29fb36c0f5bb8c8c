"""The commands that make videos and weights: `horizon sample | train`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from harness.backbone.request import Compilation
from harness.cli.console import checks
from harness.cli.console.pace import Pace
from harness.cli.console.terminal import (
    ChunkOption,
    CompileOption,
    ContainerOption,
    DecoderOption,
    DtypeOption,
    OffloadOption,
    SizeOption,
    TilingOption,
    WeightsOption,
    app,
    aside,
    console,
    line,
    progress,
)  # fmt: skip
from harness.errors import HorizonError, NotFiniteError, PresetError
from harness.escaping import terminal

if TYPE_CHECKING:
    from torch import Tensor

    from harness.backbone.presets import Backbone
    from harness.films.writer import VideoWriter
    from harness.rollout.sample import Piece
    from harness.training.loop import Trains

STRIP = 12
"""Number of pictures of a filmstrip."""


@app.command()
def sample(
    prompt: Annotated[
        str,
        typer.Argument(
            callback=checks.typed,
            help="For the pocket e.g. 'a large red disc slides fast on blue with dots'; or scenes with their lengths, "
            "'a thing [10s] | now a white cross [20s#] | cut to a disc [10s]': # before a hard cut, @ before a recall. "
            "A text without any length is one prompt, including its bars and semicolons.",
        ),
    ],
    strategy: Annotated[str, typer.Option(help="NAME or NAME.KNOB=VALUE[,KNOB=VALUE].")] = "memrope",
    seconds: Annotated[
        float | None,
        typer.Option(callback=checks.length, help="Length of the video. Default: the sum of the scenes, or 30."),
    ] = None,
    seed: Annotated[
        int, typer.Option(callback=checks.seed, help="Seed of the noise, which decides what the prompt leaves open.")
    ] = 0,
    backbone: Annotated[str, typer.Option(help="A backbone with a text encoder and a codec.")] = "pocket",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: DtypeOption = None,
    compile: CompileOption = None,
    weights: WeightsOption = None,
    size: SizeOption = None,
    tiling: TilingOption = False,
    offload: OffloadOption = False,
    container: ContainerOption = None,
    chunk: ChunkOption = None,
    decoder: DecoderOption = None,
    out: Annotated[
        Path, typer.Option(callback=checks.film, help="The mp4 file; a filmstrip is written beside it as PNG.")
    ] = Path("sample.mp4"),
) -> None:
    """Make a video from a prompt, and a filmstrip of it. The video is written while it is generated."""
    import torch

    from harness import registry
    from harness.campaign.options import backbone_request, computing
    from harness.films.writer import VideoWriter, writing
    from harness.rollout.request import beyond_training
    from harness.rollout.sample import sample as pieces
    from harness.rollout.sample import script_of
    from reports.plots.strips import filmstrip

    if out.suffix != ".mp4":
        raise PresetError(f"--out {out}: the video is an mp4 file; give a name that ends in .mp4")
    name, made = registry.parse_strategy(strategy)
    request = backbone_request(
        backbone,
        device=computing(device),
        dtype=dtype,
        compile=cast("Compilation", compile or "off"),
        weights=str(weights) if weights else None,
        size=size,
        tiling=tiling,
        offload=offload,
        container=container,
        chunk=chunk,
        decoder=decoder,
    )
    stage = registry.open_backbone(request)
    learned = made.weights(stage)
    if learned is not None and not learned.trained:
        console.print(f"{strategy} on {backbone}: {learned.about}", style="yellow")
    script = script_of(stage, prompt, seconds)
    if "|" in prompt and len(script.cues) == 1:
        one = "one prompt, including its bars; bars separate scenes if a scene has a length: 'a thing [10s] | a disc'"
        console.print(one, style="yellow", soft_wrap=True, markup=False)
    beyond = beyond_training(stage, name, made, script.frames)
    if beyond:
        console.print(beyond, style="yellow", soft_wrap=True)
    if len(script.cues) > 1 and made.switch_note:
        console.print(line(made.switch_note, "yellow"), soft_wrap=True)
    stream = pieces(stage, made, script, seed=seed)
    _make_folder(out.parent)
    assert stage.codec is not None
    about = {"title": prompt, "prompt": prompt, "strategy": strategy, "backbone": backbone, "seed": seed}
    about |= {"decoder": decoder} if decoder else {}
    with writing(out), VideoWriter(out, stage.codec.frames_per_second, about=about, enlarge=True) as video:
        shown, code = _filmed(stream, video, stage, script.frames, f"{strategy} {prompt!r}")
    if not shown:
        raise typer.Exit(code)
    strip = out.with_suffix(".png")
    filmstrip([torch.stack([picture for _, picture in shown])], strip, [time for time, _ in shown], title=prompt)
    console.print(f"{video.frames / stage.codec.frames_per_second:g} s of video: {out}, {strip}")
    if code:
        raise typer.Exit(code)


def _filmed(
    stream: Iterable[Piece], video: VideoWriter, stage: Backbone, frames: int, title: str
) -> tuple[list[tuple[str, Tensor]], int]:
    """Write the pieces of a video as they come; return pictures for a filmstrip with their times, and the exit code."""
    length = frames / stage.latents_per_second
    shown: list[tuple[str, Tensor]] = []
    pace = Pace({"video": length})
    with progress() as bar:
        task = bar.add_task(terminal(title), total=frames, rate="")
        try:
            for piece in stream:
                video.write(piece.pictures)
                if piece.seconds >= len(shown) * length / STRIP:
                    shown.append((f"{piece.seconds:g} s", piece.pictures[0]))
                done = piece.seconds + stage.chunk / stage.latents_per_second
                pace.advance("video", done - pace.done["video"])
                rate = f"{done:.1f} of {length:g} s of video, {done / max(pace.elapsed, 1e-3):.1f} x real time"
                bar.update(task, completed=done * stage.latents_per_second, rate=rate)
                if not console.is_terminal and pace.due():
                    aside.print(line(f"{rate}, {pace.in_words()}"), soft_wrap=True)
        except KeyboardInterrupt:
            return shown, 130
        except NotFiniteError as error:
            console.print(f"{error}; the video ends there", style="bold red", soft_wrap=True)
            return shown, 1
    return shown, 0


@app.command()
def train(
    what: Annotated[str, typer.Argument(help="pocket, or a strategy with weights: videomla, videomla.latent=8.")],
    backbone: Annotated[str | None, typer.Option(help="For which backbone; default: pocket.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only this stage. Default: all that are not finished.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of checkpoints, logs, curves and weights. Default: runs/WHAT.")
    ] = None,
    seed: Annotated[
        int, typer.Option(callback=checks.seed, help="Seed of the clips, the noise and the initial weights.")
    ] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[
        int, typer.Option(callback=checks.threads, help="CPU threads; the last bits of numbers depend on it.")
    ] = 2,
    install: Annotated[bool, typer.Option(help="Install the weights where the package reads them.")] = False,
) -> None:
    """Train the weights that Horizon ships. A killed training resumes at its last checkpoint, with the same result."""
    import torch

    from harness import registry
    from harness.campaign.options import computing
    from harness.training.loop import read_log
    from harness.training.recipe import Recipe, Request, chosen
    from reports.plots.strips import training_curve

    name = what.partition(".")[0]
    if name not in registry.found("trainings"):
        raise HorizonError(f"nothing called {name!r} can be trained; allowed: {', '.join(registry.found('trainings'))}")
    recipe: Recipe = registry.load("trainings", name)
    request = Request(what, out or Path("runs") / name, backbone, computing(device), seed)
    torch.set_num_threads(threads)
    for part in chosen(recipe, stage):
        trainer = recipe.open_stage(part, request)
        _train(part, trainer)
        weights = recipe.finish_stage(part, trainer, request, install=install)
        curve = trainer.folder / "curve.png"
        training_curve(read_log(trainer.folder), curve, f"{what}, {part}")
        console.print(f"{part}: {trainer.steps} steps, {weights}, {curve}")


def _train(part: str, trainer: Trains) -> None:
    """Run a stage to its end, and show the progress: a bar on a terminal, elsewhere regular lines on stderr."""
    from harness.training.loop import run

    pace, begun = Pace({part: trainer.steps - trainer.step}), trainer.step
    with progress() as bar:
        task = bar.add_task(part, total=trainer.steps, completed=begun, rate="")

        def report(logged: dict[str, float]) -> None:
            rate = f"loss {logged['loss']:.3f}, {logged['seconds']:.2f} s a step"
            bar.update(task, completed=logged["step"], rate=rate)
            pace.advance(part, logged["step"] - begun - pace.done[part])
            if not console.is_terminal and pace.due():
                steps = f"{part}: {logged['step']:,.0f} of {trainer.steps:,} steps"
                aside.print(line(f"{steps}, {rate}, {pace.in_words()}"), soft_wrap=True)

        run(trainer, report=report)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HorizonError(f"cannot make the folder {folder}: {error.strerror}; give --out another place") from None
