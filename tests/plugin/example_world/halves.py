"""A known world of somebody else's: pictures of two coloured halves, and an untrained backbone that draws them."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import torch
from einops import rearrange

from harness.backbone.presets import Backbone, build, scramble
from harness.backbone.wan import WanConfig
from harness.backbone.world import UNSURE, Reading, Truth, agreed

COLOURS = {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.7, 0.2), "blue": (0.1, 0.2, 0.9), "white": (0.95, 0.95, 0.95)}
PALETTE = torch.tensor(list(COLOURS.values()))
NAMES = list(COLOURS)
OPENINGS = {None: "", "smooth": "now ", "hardcut": "cut to ", "recall": "back to "}
SURE = 0.15
"""Largest distance of a mean colour to one of the palette at which it is read."""


class Halves:
    """Two coloured halves. A prompt says "UPPER over LOWER"; "any" leaves a half open."""

    attributes = MappingProxyType({"upper": NAMES, "lower": NAMES})
    seen = ("upper", "lower")
    fade = 1
    cycle = 0
    curtain = None

    def draw(self, seed, scene=0):
        drawn = np.random.Generator(np.random.Philox(key=[seed, scene])).integers(len(NAMES), size=2)
        return {name: NAMES[value] for name, value in zip(self.seen, drawn, strict=True)}

    def changed(self, look, seed, turn, names=None):
        names = [self.seen[(seed + turn) % 2]] if names is None else names
        return {name: NAMES[(NAMES.index(look[name]) + 1 + seed % 3) % len(NAMES)] for name in names}

    def prompt(self, said, boundary=None, number=None):
        which = "" if number is None else f"{number} "
        return f"{OPENINGS[boundary]}{which}{said.get('upper', 'any')} over {said.get('lower', 'any')}"

    def check(self, prompts):
        for _, prompt in prompts:
            encode([prompt])

    def said(self, prompt):
        upper, _, lower = prompt.split()[-3:]
        return {name: word for name, word in (("upper", upper), ("lower", lower)) if word != "any"}

    def film(self, scripts, seeds, frames, start=0):
        values = torch.zeros(len(seeds), frames, 2, dtype=torch.int64)
        for row, (script, seed) in enumerate(zip(scripts, seeds, strict=True)):
            looks = []
            for number, (begins, prompt) in enumerate(script):
                fresh = number == 0 or prompt.startswith("cut to ")
                again = prompt.removeprefix("back to ")[:1]
                back = int(again) - 1 if again.isdigit() else 0
                before = self.draw(seed, number) if fresh else looks[back if prompt.startswith("back to ") else -1]
                looks.append({**before, **self.said(prompt)})
                values[row, max(begins - start, 0) :] = torch.tensor([NAMES.index(looks[-1][n]) for n in self.seen])
        places = torch.full((*values.shape[:2], 2), 4.0)
        return Truth(self.paint(values, places), values, torch.ones(values.shape[:2], dtype=torch.bool))

    def read(self, pictures):
        means = rearrange(pictures, "... c (half h) w -> ... half c (h w)", half=2).mean(-1)
        distance, values = torch.cdist(means, PALETTE.expand(*means.shape[:-2], -1, -1)).min(-1)
        values = values.masked_fill(distance > SURE, UNSURE)
        lead = pictures.shape[:-3]
        return Reading(values, (1 - distance).clamp(0, 1), torch.full((*lead, 2), 4.0), (values >= 0).any(-1))

    def read_run(self, pictures):
        return agreed(self.read(pictures).values)

    def moves(self, values):
        return torch.zeros(values.shape[:-1], dtype=torch.bool)

    def steps(self, reading, values):
        return reading.present[:, 1:] & reading.present[:, :-1]

    def paint(self, values, places):
        return (
            rearrange(PALETTE[values], "... half c -> ... c half 1")
            .repeat_interleave(4, -2)
            .expand(*values.shape[:-1], 3, 8, 8)
        )


class Pixels:
    """A codec without loss: four by four pixels and their three colours stand in the channels of a latent cell."""

    frames_per_second = 4.0

    def encode(self, pixels):
        return 2 * rearrange(pixels, "b f c (h p) (w q) -> b f (c p q) h w", p=4, q=4) - 1

    def decode(self, latents):
        return rearrange(latents.clamp(-1, 1) / 2 + 0.5, "b f (c p q) h w -> b f c (h p) (w q)", p=4, q=4)

    def decoder(self):
        return self

    __call__ = decode

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        assert not state

    def footprint(self, batch, latent_size):
        return 0


WORDS = [*NAMES, "any", "over", "now", "cut", "back", "to", *"123456"]


def encode(prompts):
    """One row a word, one-hot: [B, 6, 16]."""
    rows = torch.zeros(len(prompts), 6, len(WORDS))
    for row, prompt in enumerate(prompts):
        for place, word in enumerate(prompt.split()):
            rows[row, place, WORDS.index(word)] = 1
    return rows


CONFIG = WanConfig(
    dim=16, ffn_dim=32, num_heads=2, num_layers=1, in_dim=48, out_dim=48, text_dim=len(WORDS), text_len=6, freq_dim=16,
    patch_size=(1, 1, 1),
)  # fmt: skip


def halves(device: str = "cpu", dtype: str = "float32") -> Backbone:
    """The backbone, with random weights."""
    model = build(CONFIG, device=device, dtype=dtype)
    return Backbone(
        name="halves", model=model if device == "meta" else scramble(model), latent_size=(2, 2), trained_frames=12,
        pictures_per_latent=1, stride=4, text=encode, codec=Pixels(), world=Halves(),
        prompts=[Halves().prompt(Halves().draw(seed)) for seed in range(4)],
    )  # fmt: skip
