"""Training clips of the pocket: their prompts leave out some attributes, and some clips switch their prompt."""

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
from harness.pocket.world import NAMES, PIXELS, SIZES, Clip, film, paint, swing, updated
from harness.training.clips import Clips
from harness.training.schedule import Exercise, Turns

HELD_OUT = 2**62
"""First seed for training; smaller seeds are for tests and suites, so that no clip is in both."""
OBJECT = 5.0
"""Weight of an object's surroundings in the loss."""
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
"""Values that an opening shows for attributes that its prompt does not name.

Many scenes fit a prompt that leaves attributes open, and their mean is a blurred picture, from which a sampler of four
steps does not recover. Published few-step models learn to choose one scene with the help of two further networks (DMD,
arXiv:2405.14867), and lose variety. Here one scene is defined as the target, so that a plain regression finds it.
"""


@dataclass(frozen=True)
class TrainingClips:
    """Clips of one training step with their prompts.

    clip: the clips that are remembered. target: the clips to draw; they differ in chunks that open, in which attributes
    that the prompt does not name have the values of `HABIT`. prompts: embeddings of all prompts of all clips,
    [P, L, text_dim]. heard: index into `prompts` of each chunk's prompt, int64 [B, chunks]. opens: chunks whose picture
    does not depend on the chunks before them (an opening, a hard cut), bool [B, chunks]. knowledge: facts that decide
    which attributes a chunk can know. texts, kinds: words of each prompt, and the boundary at which it begins.
    """

    clip: Clip
    target: Clip
    prompts: Tensor
    heard: Tensor
    opens: Tensor
    knowledge: Knowledge
    texts: Sequence[str]
    kinds: Sequence[Boundary]


def training_clips(seed: int, step: int, batch: int, frames: int, chunk: int, turns: Turns = "some") -> TrainingClips:
    """Return the clips of one training step, which depend on the arguments only."""
    rng = _generator(seed, step, 1)
    # The number of the step is in the high digits of the seeds, so that no two steps draw the same clips.
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
    target = _target(clip, opens, chunk)
    return TrainingClips(clip, target, WordEncoder()(texts), heard, opens, knowledge, texts, kinds)


def _generator(seed: int, step: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed % 2**64, step], counter=[0, 0, stream, 0]))


def clips(codec: PatchCodec, chunk: int, seed: int, number: int, exercise: Exercise) -> Clips:
    """Return the clips of one training step as latents."""
    made = training_clips(seed, number, exercise.clips, exercise.frames, chunk, exercise.turns)
    answer = codec.encode(made.target.pixels)
    return Clips(
        clean=codec.encode(made.clip.pixels),
        answer=answer,
        prompts=made.prompts,
        heard=made.heard,
        opens=made.opens,
        emphasis=emphasis(made.target, answer.shape[-1], chunk, exercise),
        spread=SPREAD,
        visible=partial(_visible, made, answer.shape[-1]),
        texts=made.texts,
        kinds=made.kinds,
        encode=WordEncoder(),
    )


def _visible(made: TrainingClips, cells: int, seen: Tensor) -> Tensor:
    """Return the weights of the part of each chunk that its prompt and the frames in its context determine."""
    return visible_weights(made.target, cells, *made.knowledge.known(seen))


def _target(clip: Clip, opens: Tensor, chunk: int) -> Clip:
    """Return the clips with the values of `HABIT` in chunks that open [B, chunks], except for named attributes."""
    rows, chunks = opens.nonzero(as_tuple=True)
    usual = np.array([ATTRIBUTES[name].index(value) for name, value in HABIT.items()])
    sayings = [
        next(scene.saying for scene in clip.scripts[row] if scene.start == number * chunk)
        for row, number in zip(rows.tolist(), chunks.tolist(), strict=True)
    ]
    looks = torch.from_numpy(np.stack([updated(usual, saying, usual) for saying in sayings]))
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

    The places that an object touches count `OBJECT` times as much: they are few, and are hard to draw and to remember.
    An exercise may raise this factor by its `detail`. It may also raise the weight of chunks in which a scene changes
    smoothly or its prompt falls silent: there the model has to replace some attributes and copy the others, and errors
    persist in later chunks.
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
