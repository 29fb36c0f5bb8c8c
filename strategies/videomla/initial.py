"""Initial weights of a latent attention from those of a dense one, without any training.

Source: VideoMLA, arXiv:2605.30351, section 3.4, names an SVD and gives no procedure. Here keys and values together are
projected on their principal directions, computed from the weights alone ("svd") or from videos ("activation_svd": least
squares over a calibration). Queries are treated likewise. The one positional key is the best that all heads can share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.backbone.block import RMSNorm, SelfAttention
from harness.backbone.presets import Backbone
from harness.backbone.rope import axis_pairs
from strategies.videomla.attention import LatentAttention, Matrix, turned_pairs
from strategies.videomla.calibration import Moments, calibrate

UNTRAINED = {
    "activation_svd": "untrained, SVD only",
    "svd": "untrained, SVD only",
    "random": "untrained, random",
}
"""Methods that make weights without training, each with its description in records and reports."""
RECIPE = "1"
"""Version of these methods; a new version makes other weights for the same backbone."""
RIDGE = 1e-6
"""Ridge term, as a part of the mean variance, that is added to every direction of the inputs."""


@dataclass
class Dense:
    """A dense layer as linear maps of its input: normed queries and keys, [D, D], and the second moments of the inputs,
    [D, D]. All float64."""

    queries: Tensor
    keys: Tensor
    inputs: Tensor


def fill(layers: Sequence[LatentAttention], backbone: Backbone, method: str) -> None:
    """Fill every layer by one of the methods of `UNTRAINED`."""
    moments = calibrate(backbone) if method == "activation_svd" else []
    generator = torch.Generator().manual_seed(0)
    for number, (block, layer) in enumerate(zip(backbone.model.layers, layers, strict=True)):
        if method == "random":
            scatter(block.self_attn, layer, generator)
        else:
            decompose(
                block.self_attn, by_activations(moments[number]) if moments else by_weights(block.self_attn), layer
            )


def by_weights(dense: SelfAttention) -> Dense:
    """Return the maps that the weights alone give, for inputs that are assumed uncorrelated, of mean 0 and variance 1.

    A norm divides by its expected value under that assumption, and its gain is multiplied into the rows. Biases of keys
    and queries are dropped.
    """

    def rows(linear: nn.Linear, norm: nn.Module) -> Tensor:
        matrix = linear.weight.double()
        if not isinstance(norm, RMSNorm):
            return matrix
        size = (matrix.square().sum(1) + linear.bias.double().square()).mean().sqrt()
        return matrix * (norm.weight.double() / size)[:, None]

    queries, keys = rows(dense.q, dense.norm_q), rows(dense.k, dense.norm_k)
    return Dense(queries, keys, torch.eye(keys.shape[1], dtype=keys.dtype, device=keys.device))


def by_activations(moments: Moments) -> Dense:
    """Return the linear maps that are nearest to the normed queries and keys in the calibration, biases included."""
    inputs = moments.inputs
    ridge = RIDGE * inputs.diagonal().mean() * torch.eye(len(inputs), dtype=inputs.dtype, device=inputs.device)
    inputs = inputs + ridge
    queries, keys = torch.linalg.solve(inputs, torch.cat((moments.queries, moments.keys)).T).T.chunk(2)
    return Dense(queries, keys, inputs)


@torch.no_grad()
def decompose(dense: SelfAttention, maps: Dense, latent: LatentAttention) -> None:
    """Fill `latent` with the best approximation that its sizes allow, one factor after the other."""
    heads, channels = dense.heads
    values = dense.v.weight.double()
    turned, content = split_channels(channels, latent.sizes.rope)
    keys, queries = (x.unflatten(0, (heads, channels)) for x in (maps.keys, maps.queries))
    root = torch.linalg.cholesky(maps.inputs)
    joint = torch.cat((keys[:, content].flatten(0, 1), values))
    up, down = principal(joint, root, latent.sizes.latent)
    split = len(joint) - len(values)
    _fill(latent.down_kv, down)
    _fill(latent.up_k, up[:split])
    _fill(latent.up_v, up[split:])
    shared, asked = share(keys[:, turned], queries[:, turned], root)
    _fill(latent.rope_k, shared)
    asking = torch.cat((queries[:, content].flatten(0, 1), asked.flatten(0, 1)))
    up, down = principal(asking, root, latent.sizes.query)
    _fill(latent.down_q, down)
    _fill(latent.up_q, up[:split])
    _fill(latent.rope_q, up[split:])
    take_output(dense, latent)


@torch.no_grad()
def scatter(dense: SelfAttention, latent: LatentAttention, generator: torch.Generator) -> None:
    """Fill `latent` with random weights of the usual size; the output projection is that of the dense layer."""
    for name, weight in latent.named_parameters():
        if weight.ndim == 2:
            fresh = torch.randn(weight.shape, generator=generator) / max(weight.shape[1], 1) ** 0.5
            weight.copy_(fresh)
        elif name.startswith("norm"):
            weight.fill_(1)
    take_output(dense, latent)


@torch.no_grad()
def take_output(dense: SelfAttention, latent: LatentAttention) -> None:
    """Copy the dense output projection and add the values' bias to its bias; attention weights add up to 1."""
    output = dense.o.weight.double()
    _fill(latent.o, output)
    latent.o.bias.copy_(dense.o.bias.double() + output @ dense.v.bias.double())


def split_channels(channels: int, rope: int) -> tuple[list[int], list[int]]:
    """Return the channels of a dense head that positions rotate (the fastest pairs of every axis), and the others."""
    turned: list[int] = []
    start = 0
    for pairs, kept in zip(axis_pairs(channels), turned_pairs(channels, rope), strict=True):
        turned += range(2 * start, 2 * (start + kept))
        start += pairs
    return turned, [channel for channel in range(channels) if channel not in turned]


def principal(matrix: Tensor, root: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return factors [rows, rank] and [rank, D] of the best approximation of `matrix` [rows, D] for inputs whose second
    moments are root @ root.T.

    The latent's channels are the principal components, scaled so that the mean of their squares is 1. The norm that
    follows then divides by a nearly constant value, since the first few components outweigh the others. Scaling all
    channels to equal variance would lose twice as much.
    """
    weighed = matrix @ root
    # The Gram matrix on the narrower side is much faster than the SVD, and as accurate for the kept components.
    energy, directions = torch.linalg.eigh(weighed.T @ weighed)
    energy, directions = energy.flip(0)[:rank], directions.flip(1)[:, :rank]
    energy = energy.clamp(min=energy[0] * 1e-24)
    scale = energy.mean().sqrt()
    up = weighed @ directions / energy.sqrt()
    return up * scale, up.T @ matrix / scale


def share(keys: Tensor, queries: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
    """Return one key [rope, D] for all heads, and matching queries [heads, rope, D], from those of each head, both
    [heads, rope, D].

    A pair of channels is a complex number, which positions rotate. A head's key is near a complex multiple of the
    shared key, and its query compensates for the factor: <q, a k> = <conj(a) q, k>, under any rotation of both.
    """
    if not keys.shape[1]:
        return keys[0], queries
    complex_keys, complex_queries = (torch.complex(x[:, 0::2], x[:, 1::2]) for x in (keys, queries))
    weighed = (complex_keys @ root.to(complex_keys.dtype)).transpose(0, 1)  # [pairs, heads, D]
    multiples = torch.linalg.svd(weighed, full_matrices=False).U[..., 0].T  # [heads, pairs], of length 1 over heads
    shared = (multiples.conj()[..., None] * complex_keys).sum(0)
    asked = multiples.conj()[..., None] * complex_queries
    return _pairs(shared), _pairs(asked)


def _pairs(x: Tensor) -> Tensor:
    """Return complex [..., pairs, D] as real [..., 2 * pairs, D]."""
    return torch.view_as_real(x).movedim(-1, -2).flatten(-3, -2)


def _fill(linear: Matrix | nn.Linear, matrix: Tensor) -> None:
    linear.weight.copy_(matrix)
