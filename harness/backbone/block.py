"""One block of the causal Wan DiT, and the head behind the last one.

Source: Wan2.1, arXiv:2503.20314; made causal by Self-Forcing, arXiv:2506.08009. Parameter names are those of the
published native checkpoints.

Shapes: B batch rows, F latent frames, S tokens of a frame, N = F * S, D channels of the residual stream. Modulations
are [b, f, ...], where b and f may be 1; a size of 1 applies to every row or frame.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.backbone.config import WanConfig
from harness.backbone.kept import compiled
from harness.backbone.kernels.attention import Attention, sdpa
from harness.backbone.layout import DenseLayout, LaidOut, LaidOutByHeads
from harness.backbone.rope import head_radians, rotate
from harness.memory.entries import Layout, at_least_float32

Source = Callable[[Tensor], LaidOut | LaidOutByHeads]
"""Function that returns a layer's context, given its un-rotated query [B, N, heads, channels]."""


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last dimension, computed in float32, scaled after the cast back."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(at_least_float32(x.dtype))
        return F.rms_norm(wide, x.shape[-1:], eps=self.eps).to(x.dtype) * self.weight


class Projections(nn.Module):
    """The parameters that self- and cross-attention share: q, k, v, o and the norms of q and k over all heads."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.heads = (config.num_heads, config.head_dim)
        self.q = nn.Linear(config.dim, config.dim)
        self.k = nn.Linear(config.dim, config.dim)
        self.v = nn.Linear(config.dim, config.dim)
        self.o = nn.Linear(config.dim, config.dim)
        self.norm_q = RMSNorm(config.dim, config.eps)
        self.norm_k = RMSNorm(config.dim, config.eps)
        self.attention: Attention = sdpa

    def query(self, x: Tensor) -> Tensor:
        """Return the queries of x: [B, N, D] -> [B, N, heads, channels]."""
        return self.norm_q(self.q(x)).unflatten(-1, self.heads)

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of x: [B, N, D] -> two of [B, N, heads, channels]."""
        return self.norm_k(self.k(x)).unflatten(-1, self.heads), self.v(x).unflatten(-1, self.heads)


class SelfAttention(Projections):
    """Attention to a context and to the chunk's own tokens, without a mask: attention is bidirectional in a chunk."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__(config)
        self.layout: Layout = DenseLayout(config.num_heads, config.head_dim)
        self.radians = head_radians(config.head_dim)

    def forward(self, query: Tensor, own: tuple[Tensor, ...], context: LaidOut | LaidOutByHeads) -> Tensor:
        """Return [B, N, D]; `query` and the `own` cached tensors are un-rotated."""
        if isinstance(context, LaidOutByHeads):
            return self.o(context.attend(self.attention, *self.rotated(query, own, context.rotation)).flatten(2))
        keys, values = context.extend(self.layout.ready(own, context.rotation, None))
        return self.o(self.attention(rotate(query, context.rotation), keys, values).flatten(2))

    def rotated(self, query: Tensor, own: tuple[Tensor, ...], rotation: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the query and the chunk's own tokens as attention reads them."""
        return rotate(query, rotation), self.layout.ready(own, rotation, None)


class CrossAttention(Projections):
    """Attention to the prompt, whose keys and values are computed once for each prompt. No positions, no mask."""

    def forward(self, x: Tensor, prompt: tuple[Tensor, Tensor]) -> Tensor:
        return self.o(self.attention(self.query(x), *prompt).flatten(2))


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward; the first and last are modulated by time, per frame."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.eps = config.eps
        self.self_attn = SelfAttention(config)
        self.cross_attn = CrossAttention(config)
        self.norm3 = nn.LayerNorm(config.dim, config.eps)
        self.ffn = nn.Sequential(
            nn.Linear(config.dim, config.ffn_dim), nn.GELU("tanh"), nn.Linear(config.ffn_dim, config.dim)
        )
        self.modulation = nn.Parameter(torch.zeros(1, 6, config.dim))

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        prompt: tuple[Tensor, Tensor],
        context: LaidOut | LaidOutByHeads | Source,
        last: bool,
    ) -> tuple[Tensor | None, tuple[Tensor, ...], Tensor]:
        """Return the block's output, this layer's own cached tensors [B, N, ...] and its un-rotated query.

        x and the output are [B, F, S, D]. With `last` the output is None: a commit pass needs only the other two.
        """
        modulation = (self.modulation + time).unsqueeze(3).unbind(2)
        query, own = self._projected(x, modulation)
        # Called even where the context is not attended to: a memory that reads the query needs that of every layer.
        laid_out = context if isinstance(context, LaidOut | LaidOutByHeads) else context(query)
        if last:
            return None, own, query
        return self._finished(x, self.self_attn(query, own, laid_out), prompt, modulation), own, query

    def by_heads(
        self, x: Tensor, time: Tensor, prompt: tuple[Tensor, Tensor], context: LaidOutByHeads, last: bool
    ) -> tuple[Tensor | None, tuple[Tensor, ...], Tensor]:
        """Return what `forward` returns, compiled but for the attention.

        Groups have other sizes in other layers and videos, so a graph of them would be compiled again and again.
        """
        query, own, rotated = compiled(Block._before)(self, x, time, context.rotation)
        if last:
            return None, own, query
        mixed = context.attend(self.self_attn.attention, *rotated)
        return compiled(Block._after)(self, x, mixed, time, prompt), own, query

    def _before(
        self, x: Tensor, time: Tensor, rotation: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, tuple[Tensor, ...]]]:
        """Return the query and the own tokens of self-attention, and both rotated."""
        query, own = self._projected(x, (self.modulation + time).unsqueeze(3).unbind(2))
        return query, own, self.self_attn.rotated(query, own, rotation)

    def _after(self, x: Tensor, mixed: Tensor, time: Tensor, prompt: tuple[Tensor, Tensor]) -> Tensor:
        """Return the block's output, given what the heads of self-attention read."""
        modulation = (self.modulation + time).unsqueeze(3).unbind(2)
        return self._finished(x, self.self_attn.o(mixed.flatten(2)), prompt, modulation)

    def _projected(self, x: Tensor, modulation: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        shift, scale, *_ = modulation
        normed = modulated_norm(x, scale, shift, self.eps).flatten(1, 2)
        return self.self_attn.query(normed), self.self_attn.key_value(normed)

    def _finished(
        self, x: Tensor, attended: Tensor, prompt: tuple[Tensor, Tensor], modulation: tuple[Tensor, ...]
    ) -> Tensor:
        _, _, gate, shift, scale, ffn_gate = modulation
        x = torch.addcmul(x, attended.view_as(x), gate)
        x = x + self.cross_attn(self.norm3(x).flatten(1, 2), prompt).view_as(x)
        return torch.addcmul(x, self.ffn(modulated_norm(x, scale, shift, self.eps)), ffn_gate)


class Head(nn.Module):
    """Map the residual stream to the flow of every patch, modulated by time."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.eps = config.eps
        _, rows, columns = config.patch_size
        self.head = nn.Linear(config.dim, config.out_dim * rows * columns)
        self.modulation = nn.Parameter(torch.zeros(1, 2, config.dim))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        shift, scale = (self.modulation + time.unsqueeze(2)).unsqueeze(3).unbind(2)
        return self.head(modulated_norm(x, scale, shift, self.eps))


def modulated_norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    """Return LayerNorm(x) * (1 + scale) + shift, without learned parameters; scale and shift [b, f, 1, D]."""
    dim = x.shape[-1]
    if scale.numel() == dim:
        # With one noise level for all frames, the norm's own affine step does it in a single kernel.
        return F.layer_norm(x, (dim,), 1 + scale.view(dim), shift.view(dim), eps)
    return torch.addcmul(shift, F.layer_norm(x, (dim,), eps=eps), 1 + scale)
