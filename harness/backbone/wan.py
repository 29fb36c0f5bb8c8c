"""The causal Wan DiT: the published architecture at any size, attending through a memory.

Source: Wan2.1, arXiv:2503.20314; made causal by Self-Forcing, arXiv:2506.08009. Shapes as in `harness.backbone.block`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from harness.backbone.block import Block, Head, Source
from harness.backbone.config import WanConfig
from harness.backbone.kept import compiled
from harness.backbone.kernels.attention import Attention
from harness.backbone.layout import LaidOut, LaidOutByHeads
from harness.errors import ShapeError
from harness.memory.terms import MemorySpec

__all__ = ["CausalWan", "Time", "WanConfig", "sinusoid"]


class Time(NamedTuple):
    """Embeddings of the noise level of a pass."""

    head: Tensor
    """For the output head, [b, f, D]."""
    blocks: Tensor
    """For every block, [b, f, 6, D]."""


class CausalWan(nn.Module):
    """The DiT. `forward` is one pass over a chunk; the contexts of past frames are its arguments."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.in_dim, dim, config.patch_size, config.patch_size)
        self.place_embedding: nn.Parameter | None = None
        if config.place_grid is not None:
            self.place_embedding = nn.Parameter(torch.zeros(math.prod(config.place_grid), dim))
        self.text_embedding = nn.Sequential(nn.Linear(config.text_dim, dim), nn.GELU("tanh"), nn.Linear(dim, dim))
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = Head(config)
        self.memory_module: str | None = None
        # On meta no weight has a value, and for normal numbers there torch imports its compiler, which takes seconds.
        if not self.head.modulation.is_meta:
            self._initialise()

    def _initialise(self) -> None:
        """Set initial weights for training: Xavier linears, zero biases, small modulations, a zero head."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1))
        for embedding in (self.text_embedding, self.time_embedding):
            for module in embedding:
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=0.02)
        for owner in (*self.blocks, self.head):
            nn.init.normal_(owner.modulation, std=self.config.dim**-0.5)
        nn.init.zeros_(self.head.head.weight)

    @property
    def layers(self) -> list[Block]:
        """The blocks with their type."""
        return [cast(Block, block) for block in self.blocks]

    @property
    def device(self) -> torch.device:
        return self.head.modulation.device

    @property
    def dtype(self) -> torch.dtype:
        return self.head.modulation.dtype

    def memory_spec(self, grid: tuple[int, int], chunk: int, batch: int = 1) -> MemorySpec:
        """Return the spec of a memory for rollouts with `grid` tokens a frame and `chunk` frames a chunk."""
        return MemorySpec(
            layers=len(self.blocks),
            layout=self.layers[0].self_attn.layout,
            frame_tokens=math.prod(grid),
            chunk=chunk,
            batch=batch,
            dtype=self.dtype,
            device=self.device,
            grid=grid,
            latent_channels=self.config.in_dim,
            module=None if self.memory_module is None else self.get_submodule(self.memory_module),
        )

    def with_self_attention(self, layers: Sequence[nn.Module]) -> CausalWan:
        """Return a twin with other self-attention, one module a layer; it shares everything else with this model.

        A module has the interface of `harness.backbone.block.SelfAttention`: `layout`, `radians`, `attention`, `query`,
        `key_value`, and a forward pass.
        """
        twin = _twin(self)
        twin.blocks = nn.ModuleList(map(_twin, self.blocks))
        for block, layer in zip(twin.blocks, layers, strict=True):
            block.self_attn = layer
        return twin

    def with_memory_module(self, name: str, module: nn.Module) -> CausalWan:
        """Return a twin with a memory's network, passed to it as `MemorySpec.module`; it shares everything else."""
        twin: CausalWan = _twin(self)
        twin.add_module(name, module)
        twin.memory_module = name
        return twin

    def attends_by(self, attention: Attention) -> bool:
        """Return whether every attention is computed by this function."""
        parts = (part for block in self.layers for part in (block.self_attn, block.cross_attn))
        return all(part.attention is attention for part in parts)

    def with_attention(self, attention: Attention) -> CausalWan:
        """Return a twin that computes every attention by this function; it shares all parameters with this model."""
        twin = _twin(self)
        twin.blocks = nn.ModuleList(map(_twin, self.blocks))
        for block in twin.blocks:
            block.self_attn, block.cross_attn = _twin(block.self_attn), _twin(block.cross_attn)
            block.self_attn.attention = block.cross_attn.attention = attention
        return cast(CausalWan, twin)

    def embed_time(self, timesteps: Tensor) -> Time:
        """Return the embeddings of timesteps [b, f] on the 0..1000 scale, for the blocks and the head."""
        head = self.time_embedding(sinusoid(timesteps, self.config.freq_dim).to(self.dtype))
        return Time(head, self.time_projection(head).unflatten(-1, (6, -1)))

    def embed_prompt(self, prompts: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return each layer's keys and values of text embeddings [B, L <= text_len, text_dim].

        Rows are padded with zeros to text_len without a mask: the published models attend to the padding.
        """
        config = self.config
        if prompts.ndim != 3 or prompts.shape[1] > config.text_len or prompts.shape[2] != config.text_dim:
            raise ShapeError(
                f"prompts are {list(prompts.shape)}; needed: [batch, at most {config.text_len} tokens, "
                f"{config.text_dim} channels], as the text encoder of this backbone gives them"
            )
        text = F.pad(prompts.to(self.device, self.dtype), (0, 0, 0, config.text_len - prompts.shape[1]))
        text = self.text_embedding(text)
        return [block.cross_attn.key_value(text) for block in self.layers]

    def forward(
        self,
        latents: Tensor,
        time: Time,
        prompt: Sequence[tuple[Tensor, Tensor]],
        contexts: Callable[[int], LaidOut | LaidOutByHeads | Source],
        commit: bool = False,
        compile: bool = False,
    ) -> tuple[Tensor | None, list[tuple[Tensor, ...]], list[Tensor]]:
        """Run one pass: latents [B, F, in_dim, H, W] -> the flow, of the same shape. `contexts` is called for each
        layer's context when the layer is reached.

        With `commit`, return None instead of the flow (nothing reads it), and every layer's own cached tensors
        [B, F * S, ...] and un-rotated queries; both lists are empty otherwise. `compile` runs the blocks compiled, as
        one graph for all of them and for each shape of context; of contexts by head, all but the attention.
        """
        run: Callable[..., Any] = compiled(Block.forward) if compile else Block.__call__
        by_heads: Callable[..., Any] = Block.by_heads
        _, rows, columns = self.config.patch_size
        patches = rearrange(latents, "b f c (h p) (w q) -> b f (h w) (c p q)", p=rows, q=columns)
        x = F.linear(patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
        if self.place_embedding is not None:
            x = x + self.place_embedding
        owns, queries = [], []
        last = len(self.blocks) - 1
        for layer, block in enumerate(self.layers):
            context, ends = contexts(layer), commit and layer == last
            call = by_heads if compile and isinstance(context, LaidOutByHeads) else run
            x, own, query = call(block, x, time.blocks, prompt[layer], context, ends)
            if commit:
                owns.append(own)
                queries.append(query)
        if commit:
            return None, owns, queries
        flow = rearrange(
            self.head(x, time.head),
            "b f (h w) (p q c) -> b f c (h p) (w q)",
            h=latents.shape[-2] // rows,
            p=rows,
            q=columns,
        )
        return flow, owns, queries


def _twin(module: nn.Module) -> Any:
    """Return a separate module with the same parameters and children. Registrations made later on one of them, such as
    hooks, do not apply to the other."""
    twin = copy.copy(module)
    for name, held in vars(module).items():
        if isinstance(held, dict | set):
            vars(twin)[name] = copy.copy(held)
    return twin


def sinusoid(timesteps: Tensor, width: int) -> Tensor:
    """Return the sinusoidal embedding of timesteps [...] on the 0..1000 scale, cosines first; float64 [..., width]."""
    rates = 10000.0 ** (-torch.arange(width // 2, device=timesteps.device, dtype=torch.float64) / (width // 2))
    angles = timesteps.double()[..., None] * rates
    return torch.cat((angles.cos(), angles.sin()), -1)
