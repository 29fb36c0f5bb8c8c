"""Naive causal Wan DiT on a plain dict of weights (spec section 1).

One video at a time: no batch dimension anywhere. T latent frames of N tokens each are kept as [T, N, dim], so
"per frame" is always the first dimension. Keys enter and leave un-rotated; the caller says at which temporal
position every frame sits, and that is the only way position reaches the network.
"""

import cmath
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Config = Mapping[str, Any]
FrameKV = tuple[Tensor, Tensor]
"""Un-rotated keys and values of one latent frame in one layer, each [N, heads, head_dim]."""
Attention = Callable[[int, Tensor], Tensor]
"""Self-attention of a layer: its number and its input [T, N, dim] -> its output [T, N, dim]."""

ROPE_THETA = 10000.0
SINUSOID_PERIOD = 10000.0


def model_dtype(weights: Weights) -> torch.dtype:
    """Type the whole network computes in."""
    return weights["patch_embedding.weight"].dtype


def token_grid(config: Config, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of tokens in a latent frame of height x width (spec 1.2 step 1)."""
    patch_t, patch_h, patch_w = config["patch_size"]
    if patch_t != 1 or height % patch_h or width % patch_w:
        raise ValueError(f"{height}x{width} does not divide into patches of {config['patch_size']}")
    return height // patch_h, width // patch_w


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Affine map with the named weight and bias: x [..., in] -> [..., out]."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def silu(x: Tensor) -> Tensor:
    """Sigmoid-weighted x, any shape."""
    return x * torch.sigmoid(x)


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU in its tanh approximation, any shape (spec 1.2 steps 3 and 4)."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def layer_norm(x: Tensor, eps: float) -> Tensor:
    """Layer norm over the last dimension without affine parameters, any shape."""
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = (centred * centred).mean(dim=-1, keepdim=True)
    return centred / torch.sqrt(variance + eps)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMS norm over all of dim, before the split into heads: x [..., dim] (spec 1.1, 1.4)."""
    # Half-precision networks normalise in float32 and cast back before the multiplication with the weight.
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    normed = wide / torch.sqrt((wide * wide).mean(dim=-1, keepdim=True) + eps)
    return normed.to(x.dtype) * weight


def sinusoid(timestep: float, freq_dim: int) -> Tensor:
    """Time features [freq_dim] in float64: all cosines first, then all sines (spec 1.2 step 2)."""
    half = freq_dim // 2
    angles = [timestep * SINUSOID_PERIOD ** (-j / half) for j in range(half)]
    features = [math.cos(angle) for angle in angles] + [math.sin(angle) for angle in angles]
    return torch.tensor(features, dtype=torch.float64)


@lru_cache(maxsize=4096)
def frame_phases(position: int, rows: int, columns: int, head_dim: int) -> Tensor:
    """Unit complex numbers that turn one frame's channel pairs: [rows * columns, head_dim / 2] (spec 1.3).

    Height and width count from the frame's corner.
    """
    places = [(position, row, column) for row in range(rows) for column in range(columns)]
    return token_phases(places, head_dim)


def token_phases(places: Sequence[tuple[int, int, int]], head_dim: int) -> Tensor:
    """Unit complex numbers for tokens at (time, row, column): [len(places), head_dim / 2] (spec 1.3).

    The pairs of a head are temporal, then height, then width.
    """
    dim_space = 2 * (head_dim // 6)
    dim_time = head_dim - 2 * dim_space
    tokens: list[list[complex]] = []
    for position, row, column in places:
        phases: list[complex] = []
        for index, dim_axis in ((position, dim_time), (row, dim_space), (column, dim_space)):
            phases.extend(cmath.exp(1j * index * ROPE_THETA ** (-2 * j / dim_axis)) for j in range(dim_axis // 2))
        tokens.append(phases)
    return torch.tensor(tokens, dtype=torch.complex128)


def rotate(x: Tensor, positions: Sequence[int], rows: int, columns: int) -> Tensor:
    """Rotary embedding of x [T, N, heads, head_dim], frame i at temporal position positions[i] (spec 1.3)."""
    if x.shape[0] != len(positions):
        raise ValueError(f"{x.shape[0]} frames but {len(positions)} temporal positions")
    phases = torch.stack([frame_phases(position, rows, columns, x.shape[-1]) for position in positions])
    return turn(x, phases)


def turn(x: Tensor, phases: Tensor) -> Tensor:
    """Multiply neighbouring channels of x [..., heads, head_dim] as complex numbers by phases [..., head_dim / 2]."""
    # Neighbouring channels 2i, 2i + 1 are the real and the imaginary part of one number.
    pairs = torch.complex(x[..., 0::2].double(), x[..., 1::2].double())
    turned = pairs * phases.unsqueeze(-2)
    rotated = torch.empty(x.shape, dtype=torch.float64)
    rotated[..., 0::2] = turned.real
    rotated[..., 1::2] = turned.imag
    return rotated.to(x.dtype)


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax attention without any mask.

    queries [Q, heads, d], keys and values [K, heads, d] -> [Q, heads * d].
    """
    heads, head_dim = queries.shape[1], queries.shape[2]
    outputs: list[Tensor] = []
    for head in range(heads):
        scores = queries[:, head] @ keys[:, head].T / math.sqrt(head_dim)
        outputs.append(torch.softmax(scores, dim=-1) @ values[:, head])
    return torch.cat(outputs, dim=-1)


def project_heads(weights: Weights, config: Config, name: str, role: str, x: Tensor) -> Tensor:
    """Queries, keys or values (role q, k, v) of x [..., dim] -> [..., heads, head_dim] (spec 1.2 step 5)."""
    projected = linear(x, weights, f"{name}.{role}")
    if role != "v":
        projected = rms_norm(projected, weights[f"{name}.norm_{role}.weight"], config["eps"])
    heads = config["num_heads"]
    return projected.reshape(*x.shape[:-1], heads, config["dim"] // heads)


def self_attention(
    weights: Weights,
    config: Config,
    layer: int,
    x: Tensor,
    positions: Sequence[int],
    context: Sequence[FrameKV],
    context_positions: Sequence[int],
    grid: tuple[int, int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Every token of the chunk x [T, N, dim] sees all context slots and the whole chunk (spec 1.2 step 5).

    Returns the output [T, N, dim] and the chunk's un-rotated keys and values [T, N, heads, head_dim].
    """
    name = f"blocks.{layer}.self_attn"
    query = project_heads(weights, config, name, "q", x)
    key = project_heads(weights, config, name, "k", x)
    value = project_heads(weights, config, name, "v", x)

    rotated_query = rotate(query, positions, *grid)
    seen_keys = torch.stack([*(k for k, _ in context), *key])
    seen_keys = rotate(seen_keys, [*context_positions, *positions], *grid)
    seen_values = torch.stack([*(v for _, v in context), *value])
    out = attend(rotated_query.flatten(0, 1), seen_keys.flatten(0, 1), seen_values.flatten(0, 1))
    return linear(out, weights, f"{name}.o").view(x.shape), key, value


def cross_attention(weights: Weights, config: Config, layer: int, x: Tensor, text: Tensor) -> Tensor:
    """Every token of x [T, N, dim] sees all text rows [text_len, dim], the padding too (spec 1.2 step 6)."""
    name = f"blocks.{layer}.cross_attn"
    query = project_heads(weights, config, name, "q", x)
    key = project_heads(weights, config, name, "k", text)
    value = project_heads(weights, config, name, "v", text)
    out = attend(query.flatten(0, 1), key, value)
    return linear(out, weights, f"{name}.o").view(x.shape)


def embed_patches(weights: Weights, config: Config, latents: Tensor, grid: tuple[int, int]) -> Tensor:
    """Latents [T, C, H, W] -> tokens [T, N, dim] in (frame, row, column) order (spec 1.2 step 1)."""
    _, patch_h, patch_w = config["patch_size"]
    # With stride equal to the kernel the convolution is one linear map per patch, channel slowest.
    kernel = weights["patch_embedding.weight"].flatten(1)
    frames: list[Tensor] = []
    for frame in latents:
        patches: list[Tensor] = []
        for row in range(grid[0]):
            for column in range(grid[1]):
                top, left = row * patch_h, column * patch_w
                patches.append(frame[:, top : top + patch_h, left : left + patch_w].flatten())
        frames.append(torch.stack(patches))
    return torch.stack(frames) @ kernel.T + weights["patch_embedding.bias"]


def assemble_patches(config: Config, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Head outputs [T, N, ph * pw * C] -> latents [T, C, H, W], channel fastest (spec 1.2 step 7)."""
    _, patch_h, patch_w = config["patch_size"]
    channels = config["out_dim"]
    latents = torch.empty(tokens.shape[0], channels, grid[0] * patch_h, grid[1] * patch_w, dtype=tokens.dtype)
    for row in range(grid[0]):
        for column in range(grid[1]):
            patch = tokens[:, row * grid[1] + column].view(-1, patch_h, patch_w, channels)
            for i in range(patch_h):
                for j in range(patch_w):
                    latents[:, :, row * patch_h + i, column * patch_w + j] = patch[:, i, j]
    return latents


def embed_text(weights: Weights, config: Config, prompt: Tensor) -> Tensor:
    """Text encoder rows [L, text_dim] -> [text_len, dim], padded before the embedding (spec 1.2 step 3)."""
    padded = torch.zeros(config["text_len"], config["text_dim"], dtype=model_dtype(weights))
    padded[: prompt.shape[0]] = prompt
    return linear(gelu_tanh(linear(padded, weights, "text_embedding.0")), weights, "text_embedding.2")


def network(
    weights: Weights, config: Config, latents: Tensor, timestep: float, prompt: Tensor, attention: Attention
) -> Tensor:
    """One pass of the network over the latent frames of a chunk -> velocity [T, C, H, W] (spec 1.2).

    latents [T, C, H, W] are all at the same timestep (0..1000 scale); prompt is [L <= text_len, text_dim].
    """
    frames, _, height, width = latents.shape
    dim, eps = config["dim"], config["eps"]
    grid = token_grid(config, height, width)
    x = embed_patches(weights, config, latents, grid)
    text = embed_text(weights, config, prompt)

    features = sinusoid(timestep, config["freq_dim"]).to(x.dtype).repeat(frames, 1)
    time = linear(silu(linear(features, weights, "time_embedding.0")), weights, "time_embedding.2")
    time_six = linear(silu(time), weights, "time_projection.1").view(frames, 6, dim)

    for layer in range(config["num_layers"]):
        name = f"blocks.{layer}"
        modulation = weights[f"{name}.modulation"] + time_six
        shift_sa, scale_sa, gate_sa, shift_ffn, scale_ffn, gate_ffn = modulation.chunk(6, dim=1)

        x = x + gate_sa * attention(layer, layer_norm(x, eps) * (1 + scale_sa) + shift_sa)

        y = layer_norm(x, eps) * weights[f"{name}.norm3.weight"] + weights[f"{name}.norm3.bias"]
        x = x + cross_attention(weights, config, layer, y, text)

        y = layer_norm(x, eps) * (1 + scale_ffn) + shift_ffn
        x = x + gate_ffn * linear(gelu_tanh(linear(y, weights, f"{name}.ffn.0")), weights, f"{name}.ffn.2")

    # The head is modulated by the time embedding itself, not by its six-fold projection.
    shift, scale = (weights["head.modulation"] + time.unsqueeze(1)).chunk(2, dim=1)
    out = linear(layer_norm(x, eps) * (1 + scale) + shift, weights, "head.head")
    return assemble_patches(config, out, grid)


def forward(
    weights: Weights,
    config: Config,
    latents: Tensor,
    timestep: float,
    prompt: Tensor,
    positions: Sequence[int],
    context: Sequence[Sequence[FrameKV]],
    context_positions: Sequence[int],
) -> tuple[Tensor, list[list[FrameKV]]]:
    """One pass of the network with dense attention to whole frames (spec 1.2).

    The chunk is at temporal `positions`. context[layer] lists the slots that are visible besides the chunk itself, at
    `context_positions`. Returns the velocity [T, C, H, W] and, per layer, the keys and values of every frame.
    """
    grid = token_grid(config, latents.shape[2], latents.shape[3])
    chunk_kv: list[list[FrameKV]] = []

    def attention(layer: int, x: Tensor) -> Tensor:
        y, key, value = self_attention(weights, config, layer, x, positions, context[layer], context_positions, grid)
        chunk_kv.append(list(zip(key, value, strict=True)))
        return y

    return network(weights, config, latents, timestep, prompt, attention), chunk_kv
