"""Phase compression: which tokens of the history stay in sight, by how well future queries will match them.

Paper: Echo-Forcing, arXiv:2605.16003, drift-gated phase scoring. A query that comes `D` frames after a key meets it
turned by the temporal frequencies; the mean query of the scene, turned so, says how much a token will be looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from harness.backbone.rope import token_radians
from harness.memory.scored import choose, take

__all__ = ["Amplitude", "Calibration", "Fusion", "Gate", "Scoring", "choose", "magnitudes", "take"]

Gate = Literal["released", "paper", "off"]
Amplitude = Literal["released", "paper", "off"]
Fusion = Literal["sum", "max"]


def magnitudes(x: Tensor) -> Tensor:
    """Of the complex pairs (channels 2i, 2i + 1) of [..., channels]: [..., pairs]."""
    return x.unflatten(-1, (-1, 2)).norm(dim=-1)


@dataclass
class Calibration:
    """What the queries of a scene's first window are like, per row and head: sums over their tokens.

    total: of the un-rotated queries, [B, heads, channels]. size: of their pairs' magnitudes, [B, heads, pairs].
    """

    total: Tensor
    size: Tensor
    tokens: int = 0

    @classmethod
    def empty(cls, like: Tensor, dtype: torch.dtype) -> Calibration:
        """For queries of the heads, channels and device of `like` [B, N, heads, channels]."""
        batch, _, heads, channels = like.shape
        return cls(
            torch.zeros(batch, heads, channels, dtype=dtype, device=like.device),
            torch.zeros(batch, heads, channels // 2, dtype=dtype, device=like.device),
        )

    def add(self, query: Tensor) -> None:
        """Take in the queries [B, N, heads, channels] of a clean pass."""
        query = query.to(self.total.dtype)
        self.total = self.total + query.sum(1)
        self.size = self.size + magnitudes(query).sum(1)
        self.tokens += query.shape[1]

    @property
    def mean(self) -> Tensor:
        return self.total / self.tokens

    @property
    def surplus(self) -> Tensor:
        """Mean magnitude of pairs beyond the magnitude of their mean, [B, heads, pairs]: what phases cannot tell."""
        return self.size / self.tokens - magnitudes(self.mean)

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total, "size": self.size, "tokens": self.tokens}


@dataclass(frozen=True)
class Scoring:
    """How tokens are scored. ahead: number of offsets, which are 1, 2, 4, ... frames."""

    ahead: int
    gate: Gate = "released"
    sharpness: float = 3.0
    amplitude: Amplitude = "released"
    fusion: Fusion = "sum"

    def drift_gate(self, mean: Tensor, recent: Tensor) -> Tensor:
        """How far the queries are still those of the calibration, [B]; both [B, heads, channels].

        Released: exp(-sharpness (1 - cos)). In the paper's figure: the cosine itself, within 0 and 1.
        """
        if self.gate == "off":
            return mean.new_ones(mean.shape[0])
        cosine = torch.cosine_similarity(mean.flatten(1), recent.flatten(1), dim=1)
        return cosine.clamp(0, 1) if self.gate == "paper" else torch.exp(-self.sharpness * (1 - cosine))

    def expected(self, mean: Tensor, frames: int, nearest: int) -> Tensor:
        """Mean query [B, heads, channels] as it meets keys of so many frames, the last of them `nearest` frames away,
        at every offset: [offsets, frames, B, heads, channels], or their mean over offsets where scores are averaged."""
        whole = partial(torch.arange, device=mean.device, dtype=torch.float64)
        # The first pairs of a head turn with time.
        time, _, _ = token_radians(mean.shape[-1], mean.device)
        away = nearest + frames - 1 - whole(frames) + 2 ** whole(self.ahead)[:, None]
        angles = away[:, :, None] * time
        turns = torch.polar(torch.ones_like(angles), angles)
        turns = turns if self.fusion == "max" else turns.mean(0, keepdim=True)
        rest = mean.shape[-1] // 2 - len(time)
        turns = torch.nn.functional.pad(torch.view_as_real(turns), (0, 0, 0, rest))
        turns[..., len(time) :, 0] = 1
        turned = torch.view_as_complex(turns.to(mean.dtype))[:, :, None, None] * torch.view_as_complex(
            mean.unflatten(-1, (-1, 2))
        )
        return torch.view_as_real(turned).flatten(-2)

    def scores(self, keys: Sequence[Tensor], calibration: Calibration, recent: Tensor, nearest: int) -> Tensor:
        """Scores of all tokens of consecutive frames' un-rotated keys, [B, S, heads, channels] each -> [B, frames * S].

        recent: mean query of the chunk at hand, [B, heads, channels]. nearest: distance of the last of the frames to
        the next one that comes. One real matrix product a frame: the phase terms are linear in the keys, so offsets,
        and heads where they are averaged, are summed over before the tokens are looked at.
        """
        mean = calibration.mean
        gate = self.drift_gate(mean, recent.to(mean.dtype))[:, None, None]
        extra = {"released": 1.0, "paper": -1.0, "off": 0.0}[self.amplitude] * gate * calibration.surplus
        queries = self.expected(mean, len(keys), nearest)
        scores = []
        for frame, stored in enumerate(keys):
            key, query = stored.to(mean.dtype), queries[:, frame]
            if self.fusion == "max":
                phase = torch.einsum("bshc,obhc->obsh", key, query)
                scores.append((phase + torch.einsum("bshp,bhp->bsh", magnitudes(key), extra)).amax((0, 3)))
                continue
            score = (key.flatten(2) @ query[0].flatten(1)[:, :, None])[:, :, 0]
            if self.amplitude != "off":
                score = score + (magnitudes(key).flatten(2) @ extra.flatten(1)[:, :, None])[:, :, 0]
            scores.append(score / key.shape[2])
        return torch.cat(scores, 1)
