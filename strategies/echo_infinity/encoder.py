"""The memory of Echo-Infinity: queries that every eviction updates, read by all layers as keys and values.

Paper: Echo-Infinity, arXiv:2606.04527. Names of parameters are those of the published checkpoint.

Shapes: B rows, M memory tokens (memory frames times tokens of a frame), D channels of the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.backbone.block import RMSNorm
from harness.backbone.config import WanConfig
from harness.backbone.kernels.attention import sdpa

SPREAD = 0.014
"""Standard deviation of untrained queries."""
GATE_BIAS = 2.0
"""Bias of an untrained gate; with it an update keeps 88 % of the memory at first."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes. frames: memory frames. tokens: tokens a frame. layers: encoder depth. normed: whether memory keys are."""

    frames: int = 3
    tokens: int
    layers: int = 2
    normed: bool = True


class EncoderLayer(nn.Module):
    """Cross-attention of queries to the evicted keys and values, then a feed-forward network."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = (config.num_heads, config.head_dim)
        self.q, self.o = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm_q, self.norm1, self.norm2 = (RMSNorm(dim, config.eps) for _ in range(3))
        self.ffn = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU("tanh"), nn.Linear(4 * dim, dim))

    def forward(self, states: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return new states: states [B, M, D], keys and values [B, N, heads, channels] -> states [B, M, D]."""
        query = self.norm_q(self.q(self.norm1(states))).unflatten(-1, self.heads)
        states = states + self.o(sdpa(query, keys, values).flatten(2))
        return states + self.ffn(self.norm2(states))


class QueryMemoryEncoder(nn.Module):
    """Update queries when frames leave, and make the keys and values that the layers read from them."""

    def __init__(self, config: WanConfig, shape: Shape) -> None:
        super().__init__()
        dim = config.dim
        self.shape, self.heads = shape, (config.num_heads, config.head_dim)
        self.query_init = nn.Parameter(SPREAD * torch.randn(shape.frames * shape.tokens, dim))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(shape.layers))
        self.connector_proj = nn.Sequential(
            nn.Linear(dim, dim), nn.GELU("tanh"), nn.Linear(dim, dim), RMSNorm(dim, config.eps)
        )
        self.gate_linear = nn.Linear(2 * dim, dim)
        nn.init.constant_(self.gate_linear.bias, GATE_BIAS)
        self.to_k, self.to_v = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm_k_out = RMSNorm(dim, config.eps)

    def start(self, batch: int) -> Tensor:
        """Return the queries before the first eviction, [B, M, D]."""
        return self.query_init.expand(batch, -1, -1)

    def updated(self, queries: Tensor, keys: Tensor, values: Tensor, *, gated: bool, residual: bool) -> Tensor:
        """Return queries [B, M, D] updated with evicted frames, whose keys and values are [B, N, heads, channels].

        gated: a learned share of the old queries stays. residual: take the encoder's output without connector and gate.
        """
        states = queries
        for layer in self.layers:
            states = layer(states, keys, values)
        if residual:
            return states
        proposal: Tensor = self.connector_proj(states)
        if not gated:
            return proposal
        return torch.lerp(proposal, queries, self.gate(queries, proposal))

    def gate(self, queries: Tensor, proposal: Tensor) -> Tensor:
        """Return the share of the old queries that stays, [B, M, D]."""
        return self.gate_linear(torch.cat((queries, proposal), -1)).sigmoid()

    def read(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of the memory, [B, frames, tokens, heads, channels]."""
        keys = self.to_k(queries)
        if self.shape.normed:
            keys = self.norm_k_out(keys)
        grid = (self.shape.frames, self.shape.tokens)
        return (
            keys.unflatten(1, grid).unflatten(-1, self.heads),
            self.to_v(queries).unflatten(1, grid).unflatten(-1, self.heads),
        )


def encoders_of(module: nn.Module | None) -> list[QueryMemoryEncoder]:
    """Return the encoder of each group of layers in a backbone's module: one, or a list of them; none in any other."""
    parts = module if isinstance(module, nn.ModuleList) else [module]
    return [part for part in parts if isinstance(part, QueryMemoryEncoder)]
