"""The pocket world: procedural videos of a moving object before a patterned ground, with every attribute known.

Every clip is drawn from a counter-based stream of random numbers with its own seed, so a clip is the same in any batch.
One latent frame is one picture of 32 x 32 pixels and lasts 0.25 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.errors import PromptError
from harness.pocket.language import ATTRIBUTES, COLOURED, Saying
from harness.pocket.scenes import Scene, check, continued, returns, script

__all__ = ["Clip", "Scene", "film", "look", "script"]

PIXELS = 32
FADE = 3
"""Length of a smooth switch and of the fall or rise of a curtain in frames: one chunk."""

NAMES = tuple(ATTRIBUTES)
SIZES = (6.0, 8.0)  # radius in pixels
SPEEDS = (2.0, 4.0)  # pixels a frame along each axis on which an object moves
SWING = (-1, 0, 1, 2, 1, 0, -1, -2)
"""Distance from the middle of the view in steps, for each frame of a swing: to both sides in two seconds, at constant
speed. Eight frames and chunks of three have no common divisor, so chunks begin at every frame of a swing."""
PALETTE = (
    (0.86, 0.12, 0.14),
    (0.98, 0.55, 0.08),
    (0.96, 0.92, 0.20),
    (0.12, 0.58, 0.18),
    (0.25, 0.84, 0.88),
    (0.14, 0.26, 0.86),
    (0.58, 0.18, 0.72),
    (0.97, 0.97, 0.97),
)
CLOTH = (0.36, 0.36, 0.38)
HEADINGS = ((0, 0), (1, 0), (0, 1), (1, 1))  # of the motions, along x and y
MOTION = NAMES.index("motion")
COLOUR_PLACES = [NAMES.index(name) for name in COLOURED]


@dataclass(frozen=True)
class Clip:
    """A batch of clips with their truth.

    pixels: [B, F, 3, 32, 32] in 0..1. looks: index of every attribute's value a frame, int64 [B, F, 8], in the order
    of `ATTRIBUTES`. places: the object's centre (x, y) in pixels, [B, F, 2]. cover: share of the view behind the
    curtain, [B, F]. scripts: each clip's scenes.
    """

    pixels: Tensor
    looks: Tensor
    places: Tensor
    cover: Tensor
    scripts: tuple[tuple[Scene, ...], ...]


def look(seed: int, scene: int = 0) -> dict[str, str]:
    """Return the attributes of a scene at this place in its script that the seed determines, if no prompt names any."""
    return named(_fresh(_drawn(seed, scene)))


def named(look: np.ndarray) -> dict[str, str]:
    """Return the values of a look [8] by the names of the attributes."""
    return {name: ATTRIBUTES[name][value] for name, value in zip(NAMES, look.tolist(), strict=True)}


def film(scripts: Sequence[Sequence[Scene]], seeds: Sequence[int], frames: int, start: int = 0) -> Clip:
    """Render `frames` latent frames of clips, from `start` on; what a script leaves unsaid is drawn from the seed."""
    if len(scripts) != len(seeds):
        raise PromptError(f"{len(scripts)} scripts for {len(seeds)} seeds; give one seed a clip")
    rows = [direct(scenes, seed, start, frames) for scenes, seed in zip(scripts, seeds, strict=True)]
    looks, before, fade, beats, cover = (torch.from_numpy(np.stack(parts)) for parts in zip(*rows, strict=True))
    places = swing(looks, beats)
    pixels = paint(looks, places)
    mixed = (fade < 1).nonzero(as_tuple=True)
    if len(mixed[0]):
        old = paint(before[mixed], places[mixed])
        part = fade[mixed][:, None, None, None]
        pixels[mixed] = part * pixels[mixed] + (1 - part) * old
    return Clip(curtained(pixels, cover), looks, places, cover, tuple(tuple(scenes) for scenes in scripts))


def curtained(pictures: Tensor, cover: Tensor) -> Tensor:
    """Return pictures [..., 3, 32, 32] behind a curtain that covers a share [...] of the view."""
    hidden = (torch.arange(PIXELS) + 0.5)[:, None] < cover[..., None, None, None] * PIXELS
    return torch.where(hidden, torch.tensor(CLOTH).view(3, 1, 1), pictures)


def looks_of(scenes: Sequence[Scene], seed: int) -> list[np.ndarray]:
    """Return the look [8] of every scene of a script; behind a curtain, that of the scene that it hides.

    Raises PromptError for a return whose words contradict the scene to which it returns.
    """
    looks: list[np.ndarray] = []
    for place, (scene, back) in enumerate(zip(scenes, check(scenes), strict=True)):
        saying, fresh = scene.saying, _fresh(_drawn(seed, place))
        if not place or (saying.kind in ("first", "hardcut") and not saying.covered):
            origin = fresh
        elif back is not None:
            origin = looks[back]
            wrong = [name for name, value in saying.said.items() if _value(origin, name) != value]
            if wrong:
                was = ", ".join(f"{name} {_value(origin, name)}" for name in wrong)
                raise PromptError(
                    f"{scene.prompt!r} at latent frame {scene.start} returns to a scene that was never there: with "
                    f"seed {seed} its scene has {was}"
                )
        else:
            origin = looks[-1]
        looks.append(updated(origin, saying, fresh))
    return looks


def versions_of(scenes: Sequence[Scene], seed: int) -> list[np.ndarray]:
    """Return, for every scene, the place in the script of the scene that last set each attribute, [8].

    A frame shows an attribute of a later scene if both scenes have the same version of it.
    """
    looks, versions = looks_of(scenes, seed), list[np.ndarray]()
    for place, (scene, back) in enumerate(zip(scenes, returns(scenes), strict=True)):
        saying = scene.saying
        if not place or (saying.kind in ("first", "hardcut") and not saying.covered):
            versions.append(np.full(len(NAMES), place))
            continue
        origin = place - 1 if back is None else back
        versions.append(np.where(looks[place] == looks[origin], versions[origin], place))
    return versions


def _value(look: np.ndarray, name: str) -> str:
    return ATTRIBUTES[name][look[NAMES.index(name)]]


def direct(scenes: Sequence[Scene], seed: int, start: int, frames: int) -> tuple[np.ndarray, ...]:
    """Return arrays for the frames of one clip from `start` on.

    They are looks [F, 8], the looks from which a fade begins [F, 8], fade [F], beats of the swing [F] and cover [F].
    """
    shown = looks_of(scenes, seed)
    looks = np.zeros((frames, len(NAMES)), np.int64)
    before = np.zeros_like(looks)
    fade = np.ones(frames, np.float32)
    beats = np.zeros(frames, np.int64)
    cover = np.zeros(frames, np.float32)
    first_beat, was_covered = 0, False
    for place, (scene, look) in enumerate(zip(scenes, shown, strict=True)):
        saying = scene.saying
        smooth = bool(place) and (saying.covered or saying.kind == "smooth")
        # A scene that continues continues its swing. A scene that returns, changes its motion, or appears from behind a
        # curtain begins its swing again.
        if not (smooth and look[MOTION] == shown[place - 1][MOTION] and (saying.covered or not was_covered)):
            first_beat = scene.start
        end = scenes[place + 1].start if place + 1 < len(scenes) else start + frames
        here = slice(*np.clip((scene.start - start, end - start), 0, frames))
        steps = np.arange(here.start, here.stop) + start - scene.start
        looks[here] = look
        beats[here] = steps + scene.start - first_beat
        moved = np.minimum((steps + 1) / FADE, 1).astype(np.float32)
        if saying.covered:
            cover[here] = 1 if was_covered else moved
        elif was_covered:
            cover[here] = 1 - moved
        elif smooth:
            before[here], fade[here] = shown[place - 1], moved
        was_covered = saying.covered
    return looks, before, fade, beats, cover


def _drawn(seed: int, scene: int) -> np.ndarray:
    """Return thirteen uniform numbers for a scene: for five attributes, and for the order of eight colours."""
    return np.random.Generator(np.random.Philox(key=[seed % 2**64, scene])).random(13)


def _fresh(drawn: np.ndarray) -> np.ndarray:
    """Return a look from uniform numbers: three different colours, and independent values of the other attributes."""
    look = np.zeros(len(NAMES), np.int64)
    look[COLOUR_PLACES] = np.argsort(drawn[5:13])[:3]
    free = [place for place in range(len(NAMES)) if place not in COLOUR_PLACES]
    look[free] = [int(u * len(ATTRIBUTES[NAMES[place]])) for u, place in zip(drawn[:5], free, strict=True)]
    return look


def updated(look: np.ndarray, saying: Saying, fresh: np.ndarray) -> np.ndarray:
    """Return a `look` [8] as `continued` by a prompt.

    A colour that the prompt gives to another attribute is replaced by the one in `fresh` [8], or by the first free one.
    """
    known, look = continued(named(look), saying), look.copy()
    for name, value in known.items():
        look[NAMES.index(name)] = ATTRIBUTES[name].index(value)
    for place in COLOUR_PLACES:
        if NAMES[place] not in known:
            others = {int(look[other]) for other in COLOUR_PLACES if other != place}
            order = [int(fresh[place]), *range(len(ATTRIBUTES["colour"]))]
            look[place] = next(colour for colour in order if colour not in others)
    return look


def swing(looks: Tensor, beats: Tensor) -> Tensor:
    """Return the centres in pixels [B, F, 2] of objects of looks [B, F, 8] at beats [B, F] of their swing."""
    motion, speed = (looks[..., NAMES.index(name)] for name in ("motion", "speed"))
    step = torch.tensor(SPEEDS)[speed][..., None] * torch.tensor(HEADINGS)[motion]
    return PIXELS / 2 + torch.tensor(SWING)[beats % len(SWING)][..., None] * step


def paint(looks: Tensor, places: Tensor) -> Tensor:
    """Return pictures [..., 3, 32, 32] in 0..1 of looks [..., 8] with the object at places [..., 2], anti-aliased."""
    lead = looks.shape[:-1]
    looks, places = looks.reshape(-1, len(NAMES)), places.reshape(-1, 2)
    value = {name: looks[:, place] for place, name in enumerate(NAMES)}
    palette = torch.tensor(PALETTE)
    ground, accent, colour = (palette[value[name]][:, :, None, None] for name in ("ground", "accent", "colour"))
    pictures = torch.lerp(ground, accent, _textures()[value["texture"]][:, None])
    inside = torch.empty(len(looks), 1, PIXELS, PIXELS)
    radius = torch.tensor(SIZES)[value["size"]]
    axis = torch.arange(PIXELS) + 0.5
    for kind, distance in enumerate(SHAPES):
        rows = (value["shape"] == kind).nonzero().squeeze(1)
        if len(rows):
            x = axis[None, None, :] - places[rows, 0, None, None]
            y = axis[None, :, None] - places[rows, 1, None, None]
            inside[rows, 0] = (0.5 - distance(x, y, radius[rows, None, None])).clamp(0, 1)
    return torch.lerp(pictures, colour, inside).reshape(*lead, 3, PIXELS, PIXELS)


def _textures() -> Tensor:
    """Return the share of the accent colour in every pixel, [textures, 32, 32]."""
    odd = (torch.arange(PIXELS) // 4 % 2).float()
    across, down = odd.expand(PIXELS, -1), odd[:, None].expand(-1, PIXELS)
    return torch.stack((across, down, (across - down).abs(), across * down))


def _disc(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return (x**2 + y**2).sqrt() - r


def _square(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.95 * r


def _triangle(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.maximum(y - 0.85 * r, 0.88 * x.abs() - 0.475 * (y + 1.05 * r))


def _cross(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    bar = torch.maximum(x.abs() - 0.36 * r, y.abs() - r)
    return torch.minimum(bar, torch.maximum(y.abs() - 0.36 * r, x.abs() - r))


SHAPES = (_disc, _square, _triangle, _cross)
"""Signed distance in pixels of every shape, in the order of its names: negative inside."""
