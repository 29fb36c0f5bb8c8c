"""The probe: reads the world's attributes, the object's place and its presence from pictures, or says "unsure".

With it, a campaign on the pocket measures whether a video keeps its content. The probe is a small convolutional network
that was also trained to give no answer for unreadable pictures (noise, blank and blended pictures, a curtain). An
answer counts from a confidence on that was calibrated on held-out pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.backbone.world import UNSURE, Reading
from harness.pocket.language import ATTRIBUTES
from harness.pocket.world import HEADINGS, PIXELS, SPEEDS

SEEN = ("shape", "colour", "size", "texture", "ground", "accent")
"""Attributes that one picture shows; motion and speed need several pictures."""
OF_OBJECT = ("shape", "colour", "size")
CROP = 20  # pixels; the largest object takes 16
SLAB = 64  # pictures that are read together; the activations of more do not fit into a processor's cache
STILL = 1.0  # pixels a frame along an axis below which an object does not move; half of the lower speed


class Probe(nn.Module):
    """The network; `read` is its interface."""

    threshold: Tensor
    grid: Tensor
    crop: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(48, 64, 3, padding=1),
            nn.GELU(),
        )
        self.coarse = nn.Sequential(
            nn.Conv2d(64, 96, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(96, 96, 3, padding=1),
            nn.GELU(),
        )
        self.merge = nn.Sequential(nn.Conv2d(160, 128, 1), nn.GELU())
        self.heat = nn.Conv2d(128, 1, 1)
        self.rough = nn.Linear(128, 2)
        self.object = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(48, 64, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(64 * (CROP // 4) ** 2, 128),
            nn.GELU(),
        )
        self.scenery = nn.Sequential(nn.Linear(64 + 96, 128), nn.GELU())
        self.heads = nn.ModuleDict({name: nn.Linear(128, len(ATTRIBUTES[name])) for name in SEEN})
        self.fine_offset = nn.Linear(128, 2)
        self.presence = nn.Linear(128, 1)
        self.register_buffer("threshold", torch.full((len(SEEN),), 0.5))
        axis = torch.arange(PIXELS // 2) * 2.0 + 1.0
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).flatten(0, 1)
        self.register_buffer("grid", grid, persistent=False)
        near = torch.arange(CROP) - (CROP - 1) / 2
        self.register_buffer("crop", torch.stack(torch.meshgrid(near, near, indexing="xy"), -1), persistent=False)

    def forward(self, pictures: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return the log-odds of every value, places [N, 2], and the log-odds of presence [N] of pictures
        [N, 3, 32, 32] in 0..1."""
        pictures = 2 * pictures - 1
        fine = self.fine(pictures)
        coarse = self.coarse(fine)
        merged = self.merge(torch.cat((fine, F.interpolate(coarse, scale_factor=2.0)), 1)).flatten(2)
        # Places are computed in float32, even where the rest is in half precision.
        heat = self.heat(merged.unflatten(2, fine.shape[2:])).flatten(1).float().softmax(1)
        looked_at = (merged @ heat[:, :, None].to(merged.dtype)).squeeze(2)
        about = (heat[:, :, None] * self.grid).sum(1) + 4 * torch.tanh(self.rough(looked_at).float())
        thing = self.object(self._around(pictures, about.detach()))
        scenery = self.scenery(torch.cat((fine.mean((2, 3)), coarse.mean((2, 3))), 1))
        odds = {name: head(thing if name in OF_OBJECT else scenery) for name, head in self.heads.items()}
        return odds, about + 2 * torch.tanh(self.fine_offset(thing).float()), self.presence(thing).squeeze(1)

    def _around(self, pictures: Tensor, places: Tensor) -> Tensor:
        """Return the CROP x CROP pixels around places [N, 2], so that an object looks the same at every place."""
        where = (places[:, None, None] + self.crop) * (2 / PIXELS) - 1
        return F.grid_sample(pictures, where, mode="bilinear", padding_mode="border", align_corners=False)

    @torch.no_grad()
    def read(self, pixels: Tensor) -> Reading:
        """Read pictures [..., 3, 32, 32] in 0..1."""
        lead = pixels.shape[:-3]
        parts = [self(part) for part in pixels.flatten(0, -4).to(self.grid).split(SLAB)]
        odds = {name: torch.cat([part[0][name] for part in parts]) for name in SEEN}
        places, presence = torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])
        likely = [odds[name].softmax(-1).max(-1) for name in SEEN]
        confidence = torch.stack([each.values for each in likely], -1)
        values = torch.stack([each.indices for each in likely], -1)
        present = presence > 0
        seen = torch.stack([present if name in OF_OBJECT else torch.ones_like(present) for name in SEEN], -1)
        values = values.masked_fill((confidence < self.threshold) | ~seen, UNSURE)
        return Reading(
            values.reshape(*lead, -1), confidence.reshape(*lead, -1), places.reshape(*lead, 2), present.reshape(lead)
        )


@dataclass(frozen=True)
class Travel:
    """Motion of the object over consecutive frames [B, T].

    motion: index of the motion, -1 where unsure, int64 [B]. speed: pixels a frame along the axes on which it moves,
    [B]; NaN where unsure.
    """

    motion: Tensor
    speed: Tensor

    def pace(self) -> Tensor:
        """Return the index of the nearest speed of the world, -1 where unsure or at rest; int64 [B]."""
        nearest = (self.speed[:, None] - torch.tensor(SPEEDS)).abs().nan_to_num(torch.inf).argmin(1)
        return nearest.masked_fill(self.speed.isnan() | (self.motion < 1), UNSURE)


def travel(reading: Reading) -> Travel:
    """Return motion and speed from the places in consecutive frames [B, T]; unsure where fewer than two pairs of
    neighbouring frames show the object.

    The step along each axis is a median, so that a few wrong places do not change it.
    """
    steps = reading.places.diff(dim=1).abs()
    both = reading.present[:, 1:] & reading.present[:, :-1]
    steps = steps.masked_fill(~both[..., None], torch.nan).nanquantile(0.5, 1)
    moving = steps > STILL
    headings = torch.tensor(HEADINGS) > 0
    motion = (moving[:, None] == headings).all(-1).int().argmax(1)
    unsure = both.sum(1) < 2
    speed = steps.masked_fill(~moving, 0).sum(-1) / moving.sum(-1).clamp(min=1)
    return Travel(motion.masked_fill(unsure, UNSURE), speed.masked_fill(unsure, torch.nan))
