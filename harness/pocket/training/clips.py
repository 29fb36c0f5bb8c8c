"""What the pocket is taught: clips with prompts from which words were dropped, some with a switch inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from harness.memory import Boundary
from harness.pocket.codec import SPREAD, PatchCodec
from harness.pocket.language import ATTRIBUTES, WordEncoder
from harness.pocket.training.knowledge import Knowledge, visible_weights
from harness.pocket.training.scripts import clip_script
from harness.pocket.world import NAMES, PIXELS, SIZES, Clip, film, paint, swing, told
from harness.training.clips import Clips
from harness.training.schedule import Exercise, Turns

HELD_OUT = 2**62
"""Seeds below are for tests and suites, the ones from here on for training: no clip is in both."""
OBJECT = 5.0
"""Weight in the loss of an object's surroundings."""
HABIT = {
    "shape": "disc",
    "colour": "red",
    "size": "large",
    "texture": "stripes",
    "ground": "blue",
    "accent": "white",
    "motion": "slides",
    "speed": "slowly",
}
"""What an opening shows where its prompt is silent.

Many scenes fit a prompt that leaves things open, and the mean of them all is a blur, which a sampler of four steps does
not leave again. Published few-step models are taught by two networks more to seek one of them (DMD, arXiv:2405.14867)
and pay in variety; here the one to seek is laid down, so that a plain regression finds it.
"""


@dataclass(frozen=True)
class Lesson:
    """Clips with their prompts.

    clip: what is remembered. asked: what is to be drawn, the same but for the chunks that open: there, what the prompt
    leaves open is habit. prompts: [P, L, text_dim], those of all clips. heard: which one each chunk hears, int64
    [B, chunks]. opens: whether a chunk begins what nothing before it determines (an opening, a hard cut), bool
    [B, chunks]. knowledge: which frames tell of what a chunk shows. texts, kinds: the prompts
    in words, and the boundaries by which they are entered.
    """

    clip: Clip
    asked: Clip
    prompts: Tensor
    heard: Tensor
    opens: Tensor
    knowledge: Knowledge
    texts: Sequence[str]
    kinds: Sequence[Boundary]


def lesson(seed: int, step: int, batch: int, frames: int, chunk: int, turns: Turns = "some") -> Lesson:
    """The clips of one training step; a function of its arguments only."""
    rng = _generator(seed, step, 1)
    # Steps are told apart by their high digits, so that no two draw the same world.
    seeds = [HELD_OUT + (step << 16) + ((seed % 2**10) << 48) + row for row in range(batch)]
    together = turns == "together"
    scripts = [
        clip_script(rng, each, frames, chunk, turns, _generator(seed, step, 2) if together else None) for each in seeds
    ]
    texts: list[str] = []
    kinds: list[Boundary] = []
    opens = torch.zeros(batch, frames // chunk, dtype=torch.bool)
    heard = torch.zeros(batch, frames // chunk, dtype=torch.int64)
    for row, scenes in enumerate(scripts):
        for scene in scenes:
            heard[row, scene.start // chunk :] = len(texts)
            opens[row, scene.start // chunk] = scene.saying.kind in ("first", "hardcut") and not scene.saying.covered
            texts.append(scene.prompt)
            kinds.append(scene.boundary)
    clip = film(scripts, seeds, frames)
    knowledge = Knowledge.of(scripts, seeds, frames, chunk, opens)
    return Lesson(clip, _asked(clip, opens, chunk), WordEncoder()(texts), heard, opens, knowledge, texts, kinds)


def _generator(seed: int, step: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed % 2**64, step], counter=[0, 0, stream, 0]))


def clips(codec: PatchCodec, chunk: int, seed: int, number: int, exercise: Exercise) -> Clips:
    """A lesson's clips as latents."""
    taught = lesson(seed, number, exercise.clips, exercise.frames, chunk, exercise.turns)
    answer = codec.encode(taught.asked.pixels)
    return Clips(
        clean=codec.encode(taught.clip.pixels),
        answer=answer,
        prompts=taught.prompts,
        heard=taught.heard,
        opens=taught.opens,
        emphasis=emphasis(taught.asked, answer.shape[-1], chunk, exercise),
        spread=SPREAD,
        visible=partial(_visible, taught, answer.shape[-1]),
        texts=taught.texts,
        kinds=taught.kinds,
        encode=WordEncoder(),
    )


def _visible(taught: Lesson, cells: int, seen: Tensor) -> Tensor:
    """What of each chunk is determined by the frames that it sees at these times."""
    return visible_weights(taught.asked, cells, *taught.knowledge.known(seen))


def _asked(clip: Clip, opens: Tensor, chunk: int) -> Clip:
    """The clips, their chunks that open [B, chunks] drawn by habit."""
    rows, chunks = opens.nonzero(as_tuple=True)
    usual = np.array([ATTRIBUTES[name].index(value) for name, value in HABIT.items()])
    sayings = [
        next(scene.saying for scene in clip.scripts[row] if scene.start == number * chunk)
        for row, number in zip(rows.tolist(), chunks.tolist(), strict=True)
    ]
    looks = torch.from_numpy(np.stack([told(usual, saying, usual) for saying in sayings]))
    looks = looks[:, None].expand(-1, chunk, -1)
    places = swing(looks, torch.arange(chunk).expand(looks.shape[:2]))

    def opened(whole: Tensor, opening: Tensor) -> Tensor:
        whole = whole.clone()
        whole.unflatten(1, (-1, chunk))[rows, chunks] = opening
        return whole

    return replace(
        clip,
        pixels=opened(clip.pixels, paint(looks, places)),
        looks=opened(clip.looks, looks),
        places=opened(clip.places, places),
    )


def emphasis(clip: Clip, cells: int, chunk: int, exercise: Exercise) -> Tensor:
    """Return the weights of the loss for the cells x cells places of a frame, [B, F, 1, cells, cells], 1 on average.

    The places that an object touches count `OBJECT` times as much: they are few, and hold what is hard to draw and to
    remember. An exercise may raise that by its `detail`, and the weight of chunks in which a scene changes smoothly or
    its prompt falls silent: there the model has to replace some attributes and copy the others, and it keeps what it
    draws there.
    """
    size = PIXELS / cells
    axis = (torch.arange(cells) + 0.5) * size
    reach = torch.tensor(SIZES)[clip.looks[..., NAMES.index("size")]][..., None] + size / 2
    across, down = ((axis - clip.places[..., which, None]).abs() < reach for which in (0, 1))
    seen = (clip.cover * PIXELS < clip.places[..., 1])[..., None, None]
    weights = 1 + (OBJECT * exercise.detail - 1) * (down[..., :, None] & across[..., None, :] & seen).float()
    for row, scenes in enumerate(clip.scripts):
        for scene in scenes[1:]:
            if scene.saying.kind == "smooth" and not scene.saying.covered:
                weights[row, scene.start : scene.start + chunk] *= (
                    exercise.silence if scene.saying.silent else exercise.change
                )
    return (weights / weights.mean())[:, :, None]
