"""Rollouts of the pocket on scripts of its world, and the attributes that the probe reads from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.backbone.world import agreed
from harness.memory import Strategy
from harness.pocket.probe import SEEN, Probe, travel
from harness.pocket.world import NAMES, Clip, Scene, film
from harness.rollout import Cue, encoded, rollout
from harness.rollout.noise import PairedNoise

JUDGED = (*SEEN, "motion", "speed")
COLUMNS = [NAMES.index(name) for name in JUDGED]


def play(
    backbone: Backbone,
    strategy: Strategy,
    scripts: Sequence[Sequence[Scene]],
    seeds: Sequence[int],
    frames: int,
    *,
    given: int = 0,
    compile: bool = False,
) -> tuple[Tensor, Clip]:
    """Return rollouts as pictures [B, frames, 3, 32, 32], and the truth with which they are compared.

    scripts: one a row; scenes of all scripts begin at the same frames and with the same boundaries. given: number of
    true latent frames at the beginning, which the rollout continues; the pictures include them. Raises PromptError for
    scripts whose scenes do not agree so.
    """
    assert backbone.text is not None
    assert backbone.codec is not None
    cues = [[Cue(scene.start, scene.prompt, scene.boundary) for scene in scenes] for scenes in scripts]
    first, *later = encoded(cues, backbone.text)
    truth = film(scripts, seeds, frames)
    initial = backbone.codec.encode(truth.pixels[:, :given]) if given else None
    chunks = rollout(
        backbone,
        strategy,
        prompts=first.embeddings,
        latent_frames=frames,
        latent_size=backbone.latent_size,
        noise=PairedNoise([(seed, row[0].text) for seed, row in zip(seeds, cues, strict=True)]),
        switches=later,
        initial=None if initial is None else initial.to(backbone.model.device, backbone.model.dtype),
        texts=first.texts,
        encode=backbone.text,
        compile=compile,
    )
    latents = [chunk.latents.float().cpu() for chunk in chunks]
    made = backbone.codec.decode(torch.cat([*([] if initial is None else [initial]), *latents], 1))
    return made, truth


@dataclass(frozen=True)
class Verdict:
    """The attributes `JUDGED` that the probe reads from consecutive frames: index of the value, -1 where unsure.

    each: values of every picture by itself, [B, T, 6]. whole: values of all frames together, [B, 8]. speed: pixels a
    frame along the path, [B], NaN where unsure.
    """

    each: Tensor
    whole: Tensor
    speed: Tensor


def judge(probe: Probe, pixels: Tensor) -> Verdict:
    """Read consecutive frames [B, T, 3, 32, 32]."""
    reading = probe.read(pixels)
    moves = travel(reading)
    whole = torch.cat((agreed(reading.values), moves.motion[:, None], moves.pace()[:, None]), 1)
    return Verdict(reading.values, whole, moves.speed)


def true_values(clip: Clip, frame: int) -> Tensor:
    """Return the true values of `JUDGED` at a frame, [B, 8]; -2 for the speed of an object at rest: it is invisible."""
    values = clip.looks[:, frame, COLUMNS].clone()
    values[values[:, JUDGED.index("motion")] == 0, JUDGED.index("speed")] = -2
    return values
