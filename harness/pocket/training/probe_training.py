"""Training and calibration of the probe."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.pocket.codec import PatchCodec
from harness.pocket.probe import SEEN, Probe
from harness.pocket.training.clips import HELD_OUT
from harness.pocket.training.probe_data import Plate, blended, covered, damaged, joined, meaningless, moved, truths
from harness.training.precision import half_precision

GARBAGE_READ = 0.03
"""Allowed share of unreadable attributes for which the calibrated probe gives an answer."""
WRONG = 0.02
"""Allowed share of wrong answers on damaged pictures."""


@dataclass
class ProbeTrainer:
    """Trainer of the probe for `harness.training.loop.run`."""

    probe: Probe
    codec: PatchCodec
    folder: Path
    steps: int = 2000
    seed: int = 0
    step: int = 0
    clips: int = 256
    rate: float = 2e-3

    def __post_init__(self) -> None:
        self.optimiser = torch.optim.AdamW(self.probe.parameters(), lr=self.rate, weight_decay=0.02)

    @property
    def device(self) -> torch.device:
        return self.probe.threshold.device

    def advance(self) -> dict[str, float]:
        began = time.monotonic()
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        first = HELD_OUT + 2**61 + ((self.seed % 2**10) << 48) + (self.step << 16)
        loss = self._loss(moved(mixed_plate(range(first, first + self.clips), self.codec, generator), self.device))
        rate_factor = min((self.step + 1) / 50, 1.0, max(0.01, (self.steps - self.step) / (0.7 * self.steps)))
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * rate_factor
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step += 1
        if self.step == self.steps:
            self.calibrate()
        return {"step": self.step, "loss": float(loss.detach()), "seconds": time.monotonic() - began}

    def _loss(self, plate: Plate) -> Tensor:
        with half_precision(self.device):
            odds, places, presence = self.probe(plate.pictures)
        total = torch.zeros((), device=self.device)
        for column, name in enumerate(SEEN):
            values, answers = plate.values[:, column], odds[name].float().log_softmax(-1)
            known = values >= 0
            # The target for unreadable values is a uniform distribution.
            rows = torch.where(known, -answers.gather(1, values.clamp(min=0)[:, None])[:, 0], -answers.mean(1))
            total = total + rows.mean()
        off = (places - plate.places).abs().sum(1)
        total = total + 0.3 * (off * plate.present).mean()
        return total + F.binary_cross_entropy_with_logits(presence.float(), plate.present.float())

    @torch.no_grad()
    def calibrate(self) -> None:
        """Set each attribute's threshold to the smallest that satisfies `GARBAGE_READ` and `WRONG`."""
        generator = torch.Generator().manual_seed(self.seed)
        first = HELD_OUT + 2**61 + 2**60
        plate = moved(mixed_plate(range(first, first + 12_000), self.codec, generator), self.device)
        odds = [torch.cat(part) for part in zip(*(self._odds(x) for x in plate.pictures.split(500)), strict=True)]
        for column in range(len(SEEN)):
            confidence, answer = odds[column].softmax(-1).max(-1)
            truth = plate.values[:, column]
            garbage = confidence[truth < 0].sort(descending=True).values
            least = garbage[int(GARBAGE_READ * len(garbage))]
            sure = confidence[truth >= 0].sort(descending=True)
            wrong = (answer[truth >= 0] != truth[truth >= 0])[sure.indices].float()
            share = wrong.cumsum(0) / torch.arange(1, len(wrong) + 1, device=self.device)
            good = (share <= WRONG).nonzero()
            by_error = sure.values[int(good.max())] if len(good) else torch.ones(())
            self.probe.threshold[column] = max(float(least), float(by_error))

    def _odds(self, pictures: Tensor) -> list[Tensor]:
        odds, _, _ = self.probe(pictures)
        return [odds[name] for name in SEEN]

    @property
    def identity(self) -> dict[str, Any]:
        return {"stage": ["probe", self.steps, self.clips, self.rate], "seed": self.seed}

    def state(self) -> dict[str, Any]:
        return {"model": self.probe.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.probe.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])


def mixed_plate(seeds: range, codec: PatchCodec, generator: torch.Generator) -> Plate:
    """Return one picture a seed: three quarters true or damaged, the rest covered, blended or meaningless."""
    quarter = len(seeds) // 4
    plain = truths(seeds[:quarter])
    coded = truths(seeds[quarter : 2 * quarter], codec)
    marred = damaged(truths(seeds[2 * quarter : 3 * quarter], codec), generator)
    rest = truths(seeds[3 * quarter :], codec)
    third = len(rest.pictures) // 3
    parts = [Plate(*(x[i * third : (i + 1) * third] for x in vars(rest).values())) for i in range(2)]
    veiled = covered(parts[0], torch.rand(third, generator=generator))
    mixed = blended(parts[1], 0.35 + 0.3 * torch.rand(third, generator=generator))
    nothing = meaningless(len(rest.pictures) - 2 * third, generator)
    return joined(plain, coded, marred, veiled, mixed, nothing)
