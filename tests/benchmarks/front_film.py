"""The moving picture at the top of README.md: the same scene under four memories, side by side.

`nox -s film` (or `python -m tests.benchmarks.front_film [PATH]`) draws docs/pictures/four.png: a minute of video of the
first rollout of the suite `drift` (tier quick, scenario steady) under four memories, at two and a half times its speed.
It is the first rollout, and not one that was chosen for its pictures. Drawing takes half a minute on two cores; do it
again whenever the weights of the pocket change.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from harness import registry
from harness.backbone.presets import Backbone
from harness.files import write_whole
from harness.rollout.task_rollout import rollout_of
from harness.suite import QualitySuite

PICTURE = Path(__file__).parents[2] / "docs/pictures/four.png"
MEMORIES = ("sliding_window", "infinity_rope", "attention_sink", "memrope")
FRAMES = 240
"""Latent frames: a minute."""
SCALE = 5
"""Pixels of the film for each pixel of the pocket."""
FASTER = 2.5
GAP, LINE, FONT = 16, 30, 15
"""Pixels: between pictures, of a line of text, of its letters."""
GROUND, INK, PALE = "#22272e", "#f0f3f6", "#adbac7"
"""Opaque, so that the text is legible on a light page and on a dark one."""
COLOURS = 128
"""Number of colours of all pictures together."""


def rollouts(backbone: Backbone, memories: Sequence[str], frames: int) -> list[np.ndarray]:
    """Pictures [T, 3, H, W] of the suite's first rollout under each memory, the true first chunk included."""
    suite = registry.load("suites", "drift")()
    assert isinstance(suite, QualitySuite)
    assert backbone.codec is not None
    task = suite.tasks(backbone, "quick")[0]
    task = replace(task, frames=frames, rows=task.rows[:1])
    given = suite.given(backbone, task)
    assert given is not None
    made = []
    for name in memories:
        decode = backbone.codec.decoder()
        chunks = rollout_of(backbone, registry.parse_strategy(name)[1], task, given=given)
        pictures = [decode(given)[0], *(decode(chunk.latents)[0] for chunk in chunks)]
        made.append(np.concatenate([each.float().clamp(0, 1).numpy() for each in pictures]))
    return made


def pages(films: Sequence[np.ndarray], labels: Sequence[str], rate: float, scale: int = SCALE) -> list[Image.Image]:
    """Pictures of all films side by side, each below its name, and the time below them; rate: pictures a second."""
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSansMono.ttf", FONT)
    side = scale * films[0].shape[-1]
    # A name is never wider than the place that it has.
    across = [max(side, ceil(font.getlength(label))) for label in labels]
    width = sum(across) + GAP * (len(labels) + 1)
    height = 2 * LINE + scale * films[0].shape[-2]
    made = []
    for number in range(len(films[0])):
        page = Image.new("RGB", (width, height), GROUND)
        draw = ImageDraw.Draw(page)
        left = GAP
        for pictures, label, room in zip(films, labels, across, strict=True):
            middle = left + room / 2
            draw.text((middle, LINE / 2), label, INK, font, anchor="mm")
            pixels = (255 * pictures[number].transpose(1, 2, 0)).round().astype(np.uint8)
            picture = Image.fromarray(pixels.repeat(scale, 0).repeat(scale, 1))
            page.paste(picture, (round(middle - side / 2), LINE))
            left += room + GAP
        draw.text((width / 2, height - LINE / 2), f"{number / rate:.0f} s", PALE, font, anchor="mm")
        made.append(page)
    return made


def save(shown: Sequence[Image.Image], path: Path, milliseconds: int) -> None:
    """Write an endless animated PNG; its pictures share few colours, and rows that repeat take hardly any room."""
    some = shown[:: max(1, len(shown) // 24)]
    sheet = Image.new("RGB", (some[0].width, sum(page.height for page in some) + 3 * LINE))
    for number, page in enumerate(some):
        sheet.paste(page, (0, number * page.height))
    # Letters have few pixels; without these stripes they would be given colours of the pictures.
    for number, colour in enumerate((GROUND, INK, PALE), 1):
        sheet.paste(colour, (0, sheet.height - number * LINE, sheet.width, sheet.height - (number - 1) * LINE))
    palette = sheet.quantize(COLOURS, dither=Image.Dither.NONE)
    first, *rest = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in shown]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(
        path,
        lambda beside: first.save(
            beside, "PNG", save_all=True, append_images=rest, duration=milliseconds, loop=0, optimize=True
        ),
    )


def draw(path: Path, memories: Sequence[str] = MEMORIES, frames: int = FRAMES, scale: int = SCALE) -> None:
    """Roll out, and write the picture. memories: NAME[.KNOB=VALUE,...]. frames: latent frames. scale: SCALE's."""
    backbone = registry.backbone("pocket")
    assert backbone.codec is not None
    rate = backbone.codec.frames_per_second
    shown = pages(rollouts(backbone, memories, frames), memories, rate, scale)
    save(shown, path, round(1000 / rate / FASTER))


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
