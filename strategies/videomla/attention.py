"""Self-attention through a low-rank latent, with a decoupled positional key.

Source: VideoMLA, arXiv:2605.30351, sections 3 and D.2 (layer), appendix E (absorbed evaluation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.backbone.block import RMSNorm
from harness.backbone.config import WanConfig
from harness.backbone.kernels.attention import Attention, sdpa
from harness.backbone.layout import LaidOut
from harness.backbone.rope import axis_pairs, head_radians, rotate
from harness.errors import KnobError
from harness.memory import Layout
from strategies.videomla.layout import LatentLayout

Evaluation = Literal["auto", "explicit", "absorbed"]
"""Attend to every head's keys and values made from the latents ("explicit"), or to the latents ("absorbed")."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Widths of the latents, and number of channels of a head that positions rotate.

    The paper's sizes at 1.3B: latent 192, query 768, rope 32 of 128. Other model sizes use the same proportions.
    """

    latent: int
    query: int
    rope: int
    normed: bool = True

    @classmethod
    def of(
        cls, config: WanConfig, latent: int | None, query: int | None, rope: int | None, normed: bool = True
    ) -> Sizes:
        """Return the sizes for a backbone; None selects the paper's proportion. Raises KnobError for invalid sizes."""
        head = config.head_dim
        made = cls(
            latent=max(1, config.dim // 8) if latent is None else latent,
            query=max(1, config.dim // 2) if query is None else query,
            rope=2 * max(1, round(head / 8)) if rope is None else rope,
            normed=normed,
        )
        for name, width in (("latent", made.latent), ("query_latent", made.query)):
            if width > config.dim:
                raise KnobError(f"videomla: {name} {width} is wider than the model; allowed here: 1 to {config.dim}")
        if made.rope % 2 or made.rope >= head:
            raise KnobError(
                f"videomla: rope {made.rope} of {head} channels a head; allowed here: even numbers from 0 to "
                f"{(head - 1) // 2 * 2}"
            )
        return made


class Matrix(nn.Module):
    """A linear map without bias, uninitialised. It may be empty, where torch's own initialisation would warn."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outer, inner))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


class LatentAttention(nn.Module):
    """Low-rank replacement of a dense `harness.backbone.block.SelfAttention`; only the output has a bias.

    Queries [B, N, heads, nope + rope] are un-rotated, content channels first. Positions rotate the fastest channel
    pairs of each axis of the dense head. Weights are uninitialised; `strategies.videomla.initial` or a checkpoint fills
    them.
    """

    def __init__(self, config: WanConfig, sizes: Sizes, evaluation: Evaluation = "auto") -> None:
        super().__init__()
        dim, self.heads, self.channels = config.dim, config.num_heads, config.head_dim
        self.sizes, self.evaluation = sizes, evaluation
        self.nope = self.channels - sizes.rope
        self.down_kv = Matrix(dim, sizes.latent)
        self.down_q = Matrix(dim, sizes.query)
        self.norm_kv = RMSNorm(sizes.latent, config.eps) if sizes.normed else nn.Identity()
        self.norm_q = RMSNorm(sizes.query, config.eps) if sizes.normed else nn.Identity()
        self.up_k = Matrix(sizes.latent, self.heads * self.nope)
        self.up_v = Matrix(sizes.latent, dim)
        self.up_q = Matrix(sizes.query, self.heads * self.nope)
        self.rope_k = Matrix(dim, sizes.rope)
        self.rope_q = Matrix(sizes.query, self.heads * sizes.rope)
        self.o = nn.Linear(dim, dim)
        self.attention: Attention = sdpa
        self.layout: Layout = LatentLayout(sizes.latent, sizes.rope)
        counts = turned_pairs(self.channels, sizes.rope)
        time, height, width = (axis[:count] for axis, count in zip(head_radians(self.channels), counts, strict=True))
        self.radians = (time, height, width)

    def query(self, x: Tensor) -> Tensor:
        """Return the queries of x: [B, N, D] -> [B, N, heads, nope + rope]."""
        latent = self.norm_q(self.down_q(x))
        content, positional = (up(latent).unflatten(-1, (self.heads, -1)) for up in (self.up_q, self.rope_q))
        return torch.cat((content, positional), -1)

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the entries of x: [B, N, D] -> content latent [B, N, latent] and positional key [B, N, rope]."""
        return self.norm_kv(self.down_kv(x)), self.rope_k(x)

    def forward(self, query: Tensor, own: tuple[Tensor, ...], context: LaidOut) -> Tensor:
        content, positional = context.extend(self.layout.ready(own, context.rotation, None))
        asked, turned = query.split((self.nope, self.sizes.rope), -1)
        turned = rotate(turned, context.rotation)
        evaluate = self._absorbed if self.absorbs(query.shape[1], content.shape[1]) else self._explicit
        return self.o(evaluate(asked, turned, content, positional).flatten(2))

    def absorbs(self, queries: int, keys: int) -> bool:
        """Return whether this many queries and keys use the absorbed evaluation; "auto" takes the cheaper one."""
        if self.evaluation != "auto":
            return self.evaluation == "absorbed"
        latent, rope, wide = self.sizes.latent, self.sizes.rope, self.nope + self.channels
        pairs = queries * keys
        explicit = pairs * 2 * self.channels + keys * wide * latent
        absorbed = pairs * 2 * (latent + rope) + queries * wide * latent
        return absorbed < explicit

    def _explicit(self, asked: Tensor, turned: Tensor, content: Tensor, positional: Tensor) -> Tensor:
        keys, values = (up(content).unflatten(-1, (self.heads, -1)) for up in (self.up_k, self.up_v))
        shared = positional.unsqueeze(2).expand(-1, -1, self.heads, -1)
        return self.attention(torch.cat((asked, turned), -1), torch.cat((keys, shared), -1), values)

    def _absorbed(self, asked: Tensor, turned: Tensor, content: Tensor, positional: Tensor) -> Tensor:
        up_k, up_v = (up.weight.unflatten(0, (self.heads, -1)) for up in (self.up_k, self.up_v))
        asked = torch.einsum("bnhc,hcl->bnhl", asked, up_k)
        # The kernel scales by the width of its input; the required scale is that of one dense head.
        wide = torch.cat((asked, turned), -1) * math.sqrt((content.shape[-1] + turned.shape[-1]) / self.channels)
        # All heads read the same entries, so they are queries of one head. Output beyond the latent is dropped.
        entries = torch.cat((content, positional), -1).unsqueeze(2)
        read = self.attention(wide.flatten(1, 2).unsqueeze(2), entries, entries)
        latents = read.unflatten(1, (-1, self.heads)).squeeze(3)[..., : content.shape[-1]]
        return torch.einsum("bnhl,hvl->bnhv", latents, up_v)


def turned_pairs(head: int, rope: int) -> tuple[int, int, int]:
    """Return the pairs of time, height and width that make up `rope` channels, the fastest of each axis in turn.

    The result is (6, 5, 5) at the published size.
    """
    fastest = sorted((number, axis) for axis, pairs in enumerate(axis_pairs(head)) for number in range(pairs))
    axes = [axis for _, axis in fastest[: rope // 2]]
    return axes.count(0), axes.count(1), axes.count(2)
