"""The causal Wan DiT: the published architecture at any size, attending through a memory.

Source: Wan2.1, arXiv:2503.20314; made causal by Self-Forcing, arXiv:2506.08009. Parameter names are those of the
published native checkpoints.

Shapes: B batch rows, F latent frames, S tokens of a frame, N = F * S, D channels of the residual stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from harness.backbone.attention import Attention, sdpa
from harness.backbone.compilation import compiled
from harness.backbone.layout import DenseLayout, LaidOut
from harness.backbone.rope import axis_pairs, frequencies, rotate
from harness.errors import ShapeError

Source = Callable[[Tensor], LaidOut]
"""A layer's context, asked for with its un-rotated query [B, N, heads, channels]."""


@dataclass(frozen=True, kw_only=True)
class WanConfig:
    """Sizes of a causal Wan DiT, named as in the published config.json; the defaults are Wan2.1-T2V-1.3B."""

    dim: int = 1536
    ffn_dim: int = 8960
    num_heads: int = 12
    num_layers: int = 30
    in_dim: int = 16
    out_dim: int = 16
    text_dim: int = 4096
    text_len: int = 512
    freq_dim: int = 256
    patch_size: tuple[int, int, int] = (1, 2, 2)
    eps: float = 1e-6

    def __post_init__(self) -> None:
        object.__setattr__(self, "patch_size", tuple(self.patch_size))
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("patch_size", "eps") and not (isinstance(value, int) and value > 0):
                raise ShapeError(f"WanConfig.{field.name} must be a positive whole number, not {value!r}")
        if self.dim % self.num_heads or (self.dim // self.num_heads) % 2:
            raise ShapeError(
                f"WanConfig: dim {self.dim} must divide into {self.num_heads} heads of an even number of channels"
            )
        if self.freq_dim % 2:
            raise ShapeError(f"WanConfig.freq_dim must be even (half cosines, half sines), not {self.freq_dim}")
        if len(self.patch_size) != 3 or self.patch_size[0] != 1:
            raise ShapeError(f"WanConfig.patch_size must be (1, rows, columns), not {self.patch_size}")

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> WanConfig:
        """From a published config.json; keys that do not size the network are ignored."""
        return cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    def grid(self, latent_size: tuple[int, int]) -> tuple[int, int]:
        """Tokens of a frame as (rows, columns). Raises ShapeError where the patch does not divide the latent."""
        (height, width), (_, rows, columns) = latent_size, self.patch_size
        if height < 1 or width < 1 or height % rows or width % columns:
            raise ShapeError(
                f"latent size {height} x {width} is not a multiple of the patch {rows} x {columns}; choose one that is"
            )
        return height // rows, width // columns


class Time(NamedTuple):
    """What a pass is told about its noise level; b and f may be 1, then it holds for every row or frame."""

    head: Tensor
    """[b, f, D], for the output head."""
    blocks: Tensor
    """[b, f, 6, D], for every block."""


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last dimension, inside in float32, scaled after the cast back."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
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
        """[B, N, D] -> [B, N, heads, channels]."""
        return self.norm_q(self.q(x)).unflatten(-1, self.heads)

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, D] -> two of [B, N, heads, channels]."""
        return self.norm_k(self.k(x)).unflatten(-1, self.heads), self.v(x).unflatten(-1, self.heads)


class SelfAttention(Projections):
    """Attention to a context and to the chunk's own tokens, without a mask: the chunk is bidirectional inside."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__(config)
        self.layout = DenseLayout(config.num_heads, config.head_dim)
        self.radians = tuple(frequencies(pairs) for pairs in axis_pairs(config.head_dim))

    def forward(self, query: Tensor, own: tuple[Tensor, ...], context: LaidOut) -> Tensor:
        """`query` and the `own` cached tensors are un-rotated; returns [B, N, D]."""
        keys, values = context.extend(self.layout.ready(own, context.rotation, None))
        return self.o(self.attention(rotate(query, context.rotation), keys, values).flatten(2))


class CrossAttention(Projections):
    """Attention to the prompt, whose keys and values are computed once a prompt. No positions, no mask."""

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
        self, x: Tensor, time: Tensor, prompt: tuple[Tensor, Tensor], context: LaidOut | Source, last: bool
    ) -> tuple[Tensor | None, tuple[Tensor, ...], Tensor]:
        """[B, F, S, D] -> the same, this layer's own cached tensors [B, N, ...] and its un-rotated query.

        With `last` only the latter two are computed: of a commit pass nothing else is used.
        """
        modulation = (self.modulation + time).unsqueeze(3).unbind(2)
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = modulation
        normed = modulated_norm(x, scale, shift, self.eps).flatten(1, 2)
        query = self.self_attn.query(normed)
        own = self.self_attn.key_value(normed)
        if last:
            return None, own, query
        laid_out = context if isinstance(context, LaidOut) else context(query)
        x = torch.addcmul(x, self.self_attn(query, own, laid_out).view_as(x), gate)
        x = x + self.cross_attn(self.norm3(x).flatten(1, 2), prompt).view_as(x)
        x = torch.addcmul(x, self.ffn(modulated_norm(x, ffn_scale, ffn_shift, self.eps)), ffn_gate)
        return x, own, query


class Head(nn.Module):
    """From the residual stream to the flow of every patch, modulated by time."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.eps = config.eps
        _, rows, columns = config.patch_size
        self.head = nn.Linear(config.dim, config.out_dim * rows * columns)
        self.modulation = nn.Parameter(torch.zeros(1, 2, config.dim))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        shift, scale = (self.modulation + time.unsqueeze(2)).unsqueeze(3).unbind(2)
        return self.head(modulated_norm(x, scale, shift, self.eps))


class CausalWan(nn.Module):
    """The DiT. `forward` is one pass over a chunk; what the chunk sees of the past is given to it."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.in_dim, dim, config.patch_size, config.patch_size)
        self.text_embedding = nn.Sequential(nn.Linear(config.text_dim, dim), nn.GELU("tanh"), nn.Linear(dim, dim))
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = Head(config)
        self._initialise()

    def _initialise(self) -> None:
        """Weights to train from: Xavier linears, zero biases, small modulations, a zero head."""
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
    def device(self) -> torch.device:
        return self.head.modulation.device

    @property
    def dtype(self) -> torch.dtype:
        return self.head.modulation.dtype

    def set_attention(self, attention: Attention) -> None:
        """Compute every attention with this function."""
        for block in self.blocks:
            block.self_attn.attention = block.cross_attn.attention = attention

    def embed_time(self, timesteps: Tensor) -> Time:
        """Timesteps [b, f] on the 0..1000 scale -> what the blocks and the head are told."""
        half = self.config.freq_dim // 2
        rates = 10000.0 ** (-torch.arange(half, device=timesteps.device, dtype=torch.float64) / half)
        angles = timesteps.double()[..., None] * rates
        head = self.time_embedding(torch.cat((angles.cos(), angles.sin()), -1).to(self.dtype))
        return Time(head, self.time_projection(head).unflatten(-1, (6, -1)))

    def embed_prompt(self, prompts: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Text embeddings [B, L <= text_len, text_dim] -> each layer's keys and values of the prompt.

        Rows are padded with zeros to text_len and not masked: the published models attend to the padding.
        """
        config = self.config
        if prompts.ndim != 3 or prompts.shape[1] > config.text_len or prompts.shape[2] != config.text_dim:
            raise ShapeError(
                f"prompts are {list(prompts.shape)}; needed: [batch, at most {config.text_len} tokens, "
                f"{config.text_dim} channels], as the text encoder of this backbone gives them"
            )
        text = F.pad(prompts.to(self.device, self.dtype), (0, 0, 0, config.text_len - prompts.shape[1]))
        text = self.text_embedding(text)
        return [block.cross_attn.key_value(text) for block in self.blocks]

    def forward(
        self,
        latents: Tensor,
        time: Time,
        prompt: Sequence[tuple[Tensor, Tensor]],
        contexts: Callable[[int], LaidOut | Source],
        commit: bool = False,
        compile: bool = False,
    ) -> tuple[Tensor | None, list[tuple[Tensor, ...]], list[Tensor]]:
        """One pass: latents [B, F, in_dim, H, W] -> the flow, of the same shape. `contexts` is asked for each layer's
        context when the layer is reached.

        With `commit`, None instead of the flow (nothing reads it), and every layer's own cached tensors
        [B, F * S, ...] and un-rotated queries; both lists are empty otherwise. `compile` runs the blocks compiled:
        one graph for all of them, for one shape of context.
        """
        run = compiled(Block.forward) if compile else Block.__call__
        _, rows, columns = self.config.patch_size
        patches = rearrange(latents, "b f c (h p) (w q) -> b f (h w) (c p q)", p=rows, q=columns)
        x = F.linear(patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
        owns, queries = [], []
        last = len(self.blocks) - 1
        for layer, block in enumerate(self.blocks):
            x, own, query = run(block, x, time.blocks, prompt[layer], contexts(layer), commit and layer == last)
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


def modulated_norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    """LayerNorm(x) * (1 + scale) + shift without parameters of its own; scale and shift [b, f, 1, D]."""
    dim = x.shape[-1]
    if scale.numel() == dim:
        # One noise level for all: the norm's own affine step does it in a single kernel.
        return F.layer_norm(x, (dim,), 1 + scale.view(dim), shift.view(dim), eps)
    return torch.addcmul(shift, F.layer_norm(x, (dim,), eps=eps), 1 + scale)
