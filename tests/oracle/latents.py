"""VideoMLA over whole rollouts, always evaluated explicitly: keys and values of every head are made of the latents."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .dit import ROPE_THETA, Config, FrameKV, Weights, network, rms_norm, token_grid
from .slots import View, slot_kv
from .windowed import Windowed


class Latents(Windowed):
    """A window over latent entries. An entry is content latent and positional key as one vector [N, 1, latent + rope].

    A frame is stored as a pair of the same vector twice, so that the rules for dense keys and values hold unchanged.
    """

    def look(self, latents: Tensor, timestep: float, view: View) -> tuple[Tensor, list[list[FrameKV]]]:
        """One network pass over latents [frames, C, H, W], seeing the slots of the view."""
        grid = token_grid(self.config, latents.shape[2], latents.shape[3])
        owns: list[list[FrameKV]] = []

        def attention(layer: int, x: Tensor) -> Tensor:
            own = entries_of(self.weights, self.config, layer, x)
            blank = torch.zeros_like(own[0])
            seen = [slot_kv(slot, self.store[layer], blank)[0] for slot in view.slots]
            owns.append([(frame, frame) for frame in own])
            positions = [*view.positions, *view.current_positions]
            return attend(self.weights, self.config, layer, x, torch.stack([*seen, *own]), positions, grid)

        return network(self.weights, self.config, latents, timestep, self.prompt, attention), owns


def normed(x: Tensor, weights: Weights, name: str, eps: float) -> Tensor:
    """RMS norm where the layer has one."""
    return rms_norm(x, weights[f"{name}.weight"], eps) if f"{name}.weight" in weights else x


def entries_of(weights: Weights, config: Config, layer: int, x: Tensor) -> Tensor:
    """What is cached of x [T, N, dim]: [T, N, 1, latent + rope], the positional part un-rotated (spec 3.1)."""
    name = f"blocks.{layer}.self_attn"
    content = normed(x @ weights[f"{name}.down_kv.weight"].T, weights, f"{name}.norm_kv", config["eps"])
    return torch.cat((content, x @ weights[f"{name}.rope_k.weight"].T), -1).unsqueeze(2)


def attend(
    weights: Weights,
    config: Config,
    layer: int,
    x: Tensor,
    entries: Tensor,
    positions: Sequence[int],
    grid: tuple[int, int],
) -> Tensor:
    """Attention of x [T, N, dim] to entries [F, N, 1, latent + rope], the last T of which are its own (spec 3.1)."""
    name = f"blocks.{layer}.self_attn"
    heads = config["num_heads"]
    head = config["dim"] // heads
    latent = weights[f"{name}.down_kv.weight"].shape[0]
    content = entries[..., 0, :latent].flatten(0, 1)
    key = turned(entries[..., 0, latent:], positions, grid, head).flatten(0, 1)
    asked = normed(x @ weights[f"{name}.down_q.weight"].T, weights, f"{name}.norm_q", config["eps"])
    outputs: list[Tensor] = []
    for number in range(heads):
        up = {role: slice_of(weights[f"{name}.up_{role}.weight"], number, heads) for role in "qkv"}
        rope_query = asked @ slice_of(weights[f"{name}.rope_q.weight"], number, heads).T
        rope_query = turned(rope_query, positions[len(positions) - len(x) :], grid, head).flatten(0, 1)
        scores = (asked @ up["q"].T).flatten(0, 1) @ (content @ up["k"].T).T + rope_query @ key.T
        outputs.append(torch.softmax(scores / math.sqrt(head), -1) @ (content @ up["v"].T))
    joined = torch.cat(outputs, -1) @ weights[f"{name}.o.weight"].T + weights[f"{name}.o.bias"]
    return joined.view(x.shape)


def slice_of(weight: Tensor, head: int, heads: int) -> Tensor:
    """The rows of one head."""
    rows = weight.shape[0] // heads
    return weight[head * rows : (head + 1) * rows]


def turned(x: Tensor, positions: Sequence[int], grid: tuple[int, int], head: int) -> Tensor:
    """Rotate the pairs of x [F, N, rope]: the fastest of time, rows and columns in turn, grouped by axis (spec 3.1)."""
    space = head // 2 // 3
    table = (head // 2 - 2 * space, space, space)
    taken = [0, 0, 0]
    axis = 0
    while sum(taken) < x.shape[-1] // 2:
        taken[axis] += taken[axis] < table[axis]
        axis = (axis + 1) % 3
    result = torch.empty(x.shape, dtype=torch.float64)
    for frame, time in enumerate(positions):
        for token in range(x.shape[1]):
            place = (time, token // grid[1], token % grid[1])
            pair = 0
            for number, count in enumerate(taken):
                for i in range(count):
                    angle = place[number] * ROPE_THETA ** (-i / table[number])
                    real, imaginary = x[frame, token, 2 * pair].item(), x[frame, token, 2 * pair + 1].item()
                    result[frame, token, 2 * pair] = real * math.cos(angle) - imaginary * math.sin(angle)
                    result[frame, token, 2 * pair + 1] = real * math.sin(angle) + imaginary * math.cos(angle)
                    pair += 1
    return result.to(x.dtype)
