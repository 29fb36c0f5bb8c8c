"""Sizes of a causal Wan DiT."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from harness.errors import ShapeError


@dataclass(frozen=True, kw_only=True)
class WanConfig:
    """Sizes of a causal Wan DiT, named as in the published config.json; the defaults are Wan2.1-T2V-1.3B.

    place_grid: rows and columns of a frame's tokens for which a learned embedding of the place is added to every token;
    None in the published models. RoPE encodes distances only, and a frame of a few tokens has too few of them to
    determine where its centre is. Time is encoded by RoPE alone.
    """

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
    place_grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        patch = tuple(self.patch_size) if isinstance(self.patch_size, Sequence) else (self.patch_size,)
        object.__setattr__(self, "patch_size", patch)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("patch_size", "eps", "place_grid") and not (isinstance(value, int) and value > 0):
                raise ShapeError(f"WanConfig.{field.name} must be a positive whole number, not {value!r}")
        if type(self.eps) not in (int, float) or not 0 < self.eps < math.inf:
            raise ShapeError(f"WanConfig.eps must be a number above 0, not {self.eps!r}")
        if self.dim % self.num_heads or (self.dim // self.num_heads) % 2:
            raise ShapeError(
                f"WanConfig: dim {self.dim} must divide into {self.num_heads} heads of an even number of channels"
            )
        if self.freq_dim % 2:
            raise ShapeError(f"WanConfig.freq_dim must be even (half cosines, half sines), not {self.freq_dim}")
        if len(patch) != 3 or patch[0] != 1 or not all(isinstance(n, int) and n > 0 for n in patch):
            raise ShapeError(f"WanConfig.patch_size must be (1, rows, columns), not {self.patch_size}")
        if self.place_grid is not None:
            grid = tuple(self.place_grid) if isinstance(self.place_grid, Sequence) else (self.place_grid,)
            object.__setattr__(self, "place_grid", grid)
            if len(grid) != 2 or not all(isinstance(n, int) and n > 0 for n in grid):
                raise ShapeError(f"WanConfig.place_grid must be (rows, columns) of tokens or None, not {grid!r}")

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> WanConfig:
        """Return the sizes in a published config.json; keys that do not size the network are ignored."""
        return cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    def grid(self, latent_size: tuple[int, int]) -> tuple[int, int]:
        """Return the tokens of a frame as (rows, columns). Raises ShapeError unless the patch divides the latent."""
        (height, width), (_, rows, columns) = latent_size, self.patch_size
        if height < 1 or width < 1 or height % rows or width % columns:
            raise ShapeError(
                f"latent size {height} x {width} is not a multiple of the patch {rows} x {columns}; choose one that is"
            )
        grid = height // rows, width // columns
        if self.place_grid not in (None, grid):
            raise ShapeError(
                f"latent size {height} x {width} makes frames of {grid[0]} x {grid[1]} tokens; this backbone has place "
                f"embeddings for {self.place_grid[0]} x {self.place_grid[1]} only, so the latent size must be "
                f"{self.place_grid[0] * rows} x {self.place_grid[1] * columns}"
            )
        return grid
