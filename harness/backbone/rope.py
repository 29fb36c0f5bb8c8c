"""3-D rotary positions by explicit index, computed without a table, so any position is possible.

Source: RoFormer, arXiv:2104.09864; Wan2.1, arXiv:2503.20314 (split of a head into time, height and width).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

THETA = 10000.0
REMEMBERED = 4  # rotations of context and chunk, now and before; or of a chunk and of three groups of heads


def axis_pairs(head_dim: int) -> tuple[int, int, int]:
    """Return the complex pairs of a head for time, height and width; 128 channels give (22, 21, 21)."""
    pairs = head_dim // 2
    return pairs - 2 * (pairs // 3), pairs // 3, pairs // 3


def frequencies(pairs: int) -> Tensor:
    """Return the radians per position of one axis' pairs, float64 [pairs], highest first."""
    return THETA ** (-torch.arange(pairs, dtype=torch.float64) / pairs)


def head_radians(head_dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the frequencies of the three axes of a dense Wan head."""
    # Always on the CPU, also for a model that is built on the meta device: no checkpoint fills these tensors.
    with torch.device("cpu"):
        time, height, width = (frequencies(pairs) for pairs in axis_pairs(head_dim))
    return time, height, width


@cache
def token_radians(head_dim: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Frequencies of the three axes of a dense Wan head on a device, kept for the process."""
    with torch.inference_mode(False):
        time, height, width = (axis.to(device, non_blocking=True) for axis in head_radians(head_dim))
    return time, height, width


class Rope:
    """Rotations for the tokens of latent frames, as (cos, sin) of angles computed in float64.

    Parameters
    ----------
    radians: radians per position of the pairs of each axis (time, height, width), float64.
    grid: tokens of a frame as (rows, columns).
    dtype: data type of the rotations; float64 for a float64 backbone, else float32.
    device: device of the rotations.
    """

    def __init__(
        self,
        radians: tuple[Tensor, Tensor, Tensor],
        grid: tuple[int, int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.radians = tuple(axis.to(device, torch.float64) for axis in radians)
        self.dtype = dtype
        self.device = torch.device(device)
        places = torch.meshgrid(*(torch.arange(n, device=device, dtype=torch.float64) for n in grid), indexing="ij")
        angles = [place.reshape(-1, 1) * self.radians[axis] for axis, place in enumerate(places, 1)]
        self._space = self._turn(torch.cat(angles, -1))
        self._recent: dict[tuple[float, ...], Tensor] = {}

    def frames(self, positions: Sequence[float] | Tensor) -> Tensor:
        """Return the rotation of whole frames at temporal ids `positions`, [T] or, one list a row, [B, T].

        The result is [B or 1, T * S, 1, pairs, 2]. Results for host numbers are cached, because a memory with relative
        positions uses the same ones at every chunk.
        """
        if isinstance(positions, Tensor):
            return self._frames(positions.to(self.device, torch.float64))
        key = tuple(positions)
        found = self._recent.pop(key, None)
        if found is None:
            while len(self._recent) >= REMEMBERED:
                del self._recent[next(iter(self._recent))]
            found = self._frames(torch.tensor(key, dtype=torch.float64).to(self.device, non_blocking=True))
        # The latest use is last, so that a memory that uses as many keeps all of them.
        self._recent[key] = found
        return found

    def tokens(self, positions: Tensor) -> Tensor:
        """Return the rotation of single tokens at (time, row, column) [B, N, 3]: [B, N, 1, pairs, 2]."""
        return token_rotation(positions.to(self.device), self.radians, self.dtype)

    def _frames(self, positions: Tensor) -> Tensor:
        # Only the temporal angles are computed; those of rows and columns are the same for every frame.
        time = self._turn(positions.reshape(-1, positions.shape[-1], 1) * self.radians[0])
        batch, frames, tokens = time.shape[0], time.shape[1], self._space.shape[0]
        both = (
            time[:, :, None].expand(-1, -1, tokens, -1, -1),
            self._space[None, None].expand(batch, frames, -1, -1, -1),
        )
        return torch.cat(both, -2).reshape(batch, frames * tokens, 1, -1, 2)

    def _turn(self, angles: Tensor) -> Tensor:
        return cos_sin(angles).to(self.dtype)


def cos_sin(angles: Tensor) -> Tensor:
    """Return cosines and sines of angles [...], as [..., 2]."""
    return torch.stack((angles.cos(), angles.sin()), -1)


def token_rotation(positions: Tensor, radians: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Return the rotation of single tokens, computed in float64.

    Parameters
    ----------
    positions: (time, row, column) of each token, [B, N, 3].
    radians: per position of the pairs of each axis, float64, on the device of the positions.
    dtype: of the rotation.

    Returns
    -------
    [B, N, 1, pairs, 2], on the device of the positions.
    """
    at = positions.to(torch.float64)
    angles = [at[..., axis, None] * each for axis, each in enumerate(radians)]
    return cos_sin(torch.cat(angles, -1)).to(dtype).unsqueeze(2)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate adjacent channels (2i, 2i + 1) of `x` [B, N, heads, channels] by `rotation` [B or 1, N, 1, pairs, 2].

    Computed in the rotation's precision and returned in that of `x`.
    """
    if not x.shape[-1]:
        return x
    pairs = x.to(rotation.dtype).unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():
        # The compiler fuses real arithmetic but not complex arithmetic.
        real, imaginary = pairs.unbind(-1)
        cos, sin = rotation.unbind(-1)
        turned = torch.stack((real * cos - imaginary * sin, real * sin + imaginary * cos), -1)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(rotation))
    return turned.flatten(-2).to(x.dtype)
