"""Wan's video VAE, decoding a video chunk by chunk.

Source: Wan2.1, arXiv:2503.20314: a causal 3-D VAE, 4 x 8 x 8 pixels a latent cell, in which every convolution reads the
two previous frames. These are carried from chunk to chunk, so a video of n latent frames has exactly 4 n - 3 pictures
without a seam, and any length takes the memory of one chunk. Decoding long videos in blocks with fresh caches, as
released code does, gives three pictures fewer a block, and a seam.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from harness.errors import CheckpointError, PresetError, ShapeError
from harness.measure.counting import weighed

STRIDE = 8
"""Pixels of a latent cell, in each direction."""
INSTALL = "pip install 'horizon-bench[models]'"

Carried = list[Any]
"""Frames that every convolution of a decoder reads next: tensors, or markers of the beginning of a video."""


class WanCodec(nn.Module):
    """Conversion between pictures and latents by an AutoencoderKLWan of `diffusers`.

    tiling: decode in overlapping tiles of 256 pixels, which takes less memory at large sizes; pictures change slightly
    where tiles meet. offload: keep weights and carried frames in main memory while nothing is decoded.
    """

    frames_per_second = 16.0

    def __init__(
        self, vae: Any, *, device: str | torch.device = "cpu", tiling: bool = False, offload: bool = False
    ) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(False).eval()
        self.device, self.tiling, self.offload = torch.device(device), tiling, offload
        config = vae.config
        if config.patch_size is not None or config.is_residual:
            raise PresetError("this VAE is of Wan2.2, with patches and shortcuts; use the VAE of Wan2.1")
        shape = (1, -1, 1, 1, 1)
        self.mean = torch.tensor(config.latents_mean).view(shape)
        self.std = torch.tensor(config.latents_std).view(shape)
        if not offload:
            self.vae.to(self.device)

    @classmethod
    def load(
        cls, folder: Path, *, device: str, dtype: torch.dtype, tiling: bool = False, offload: bool = False
    ) -> WanCodec:
        """Load from a folder of `diffusers` (config.json and safetensors), strictly. Raises CheckpointError."""
        kind = autoencoder()
        try:
            vae, told = kind.from_pretrained(
                folder, torch_dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
            raise unreadable(folder, "a VAE of Wan2.1", error) from None
        check_strict(folder, "a VAE of Wan2.1", told)
        return cls(vae, device=device, tiling=tiling, offload=offload)

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return int(self.vae.config.z_dim)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Return the latents [B, n, C, h, w] of pictures [B, 4 n - 3, 3, 8 h, 8 w] in 0..1, the mode of each."""
        if pixels.shape[1] % 4 != 1:
            raise ShapeError(f"{pixels.shape[1]} pictures cannot be encoded; the VAE takes 4 n - 3: 1, 5, 9, ...")
        with self._here():
            moved = rearrange(2 * pixels - 1, "b t c h w -> b c t h w").to(self.device, self.vae.dtype)
            latents = self.vae.encode(moved).latent_dist.mode().float()
        return rearrange((latents - self.mean.to(latents)) / self.std.to(latents), "b c f h w -> b f c h w")

    def decode(self, latents: Tensor) -> Tensor:
        """Return the pictures [B, 4 n - 3, 3, 8 h, 8 w] in 0..1, float32, of a whole video."""
        return self.decoder()(latents)

    def decoder(self) -> WanDecoder:
        """Return a decoder for the chunks of one video, in their order."""
        return WanDecoder(self)

    def footprint(self, batch: int, latent_size: tuple[int, int]) -> int:
        """Return the bytes that decoding takes beyond the weights, at any video length; computed on paper."""
        with torch.device("meta"):
            paper = autoencoder().from_config(self.vae.config).to(self.vae.dtype)
            decoder = WanDecoder(WanCodec(paper, device="meta", tiling=self.tiling))
            # Three frames, because the first picture takes less than the four of every later latent frame.
            latents = torch.empty(batch, 3, self.vae.config.z_dim, *latent_size)
        with weighed() as count:
            decoder(latents)
        return count.peak_bytes

    @contextmanager
    def _here(self) -> Iterator[None]:
        """Hold the weights on the computing device inside this context."""
        try:
            if self.offload:
                self.vae.to(self.device)
            yield
        finally:
            if self.offload:
                self.vae.to("cpu")


class WanDecoder:
    """Stateful decoder of one video; call it with one chunk after the other."""

    def __init__(self, codec: WanCodec) -> None:
        self.codec = codec
        self.carried: dict[tuple[int, int], Carried] = {}

    @torch.no_grad()
    def __call__(self, latents: Tensor) -> Tensor:
        """Return the pictures [B, T, 3, 8 h, 8 w] in 0..1, float32, of the next latents [B, F, C, h, w]: T is 4 F, and
        three fewer at the beginning of the video."""
        codec = self.codec
        with codec._here():
            wide = rearrange(latents, "b f c h w -> b c f h w").to(codec.device, torch.float32)
            frames = (wide * codec.std.to(wide) + codec.mean.to(wide)).to(codec.vae.dtype)
            made = torch.cat([self._frame(frame) for frame in codec.vae.post_quant_conv(frames).split(1, 2)], 2)
        if codec.offload:
            self.carried = {place: [_moved(x, "cpu") for x in carried] for place, carried in self.carried.items()}
        return rearrange((made.float() * 0.5 + 0.5).clamp(0, 1), "b c t h w -> b t c h w")

    def state_dict(self) -> dict[str, Any]:
        """Return the state that is needed to resume: the carried frames of every tile."""
        return {f"{row},{column}": list(carried) for (row, column), carried in self.carried.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from `state_dict()`."""
        where = "cpu" if self.codec.offload else self.codec.device
        self.carried = {
            (int(row), int(column)): [_moved(x, where) for x in carried]
            for (row, _, column), carried in ((place.partition(","), carried) for place, carried in state.items())
        }

    def _frame(self, latent: Tensor) -> Tensor:
        """Decode one latent frame [B, C, 1, h, w]; tiles are blended as `diffusers` blends them for whole videos."""
        vae = self.codec.vae
        height, width = latent.shape[-2:]
        size, step = vae.tile_sample_min_height // STRIDE, vae.tile_sample_stride_height // STRIDE
        if not self.codec.tiling or (height <= size and width <= size):
            return self._tile(latent, (0, 0))
        overlap, shown = vae.tile_sample_min_height - vae.tile_sample_stride_height, vae.tile_sample_stride_height
        rows = [
            [self._tile(latent[..., y : y + size, x : x + size], (y, x)) for x in range(0, width, step)]
            for y in range(0, height, step)
        ]
        blended = []
        for y, row in enumerate(rows):
            parts = []
            for x, tile in enumerate(row):
                above = vae.blend_v(rows[y - 1][x], tile, overlap) if y else tile
                whole = vae.blend_h(row[x - 1], above, overlap) if x else above
                parts.append(whole[..., :shown, :shown])
            blended.append(torch.cat(parts, -1))
        return torch.cat(blended, -2)[..., : height * STRIDE, : width * STRIDE]

    def _tile(self, latent: Tensor, place: tuple[int, int]) -> Tensor:
        decoder = self.codec.vae.decoder
        first = place not in self.carried
        carried = self.carried.get(place) or [None] * self.codec.vae._cached_conv_counts["decoder"]
        carried = [_moved(x, latent.device) for x in carried]
        # The decoder updates the carried frames in the list itself.
        made = decoder(latent, feat_cache=carried, feat_idx=[0], first_chunk=first)
        self.carried[place] = carried
        return made


def autoencoder() -> Any:
    """Return the class of the VAE, with its library's output silenced. Raises CheckpointError where it is missing."""
    try:
        from diffusers import AutoencoderKLWan
        from diffusers.utils import logging
    except ImportError:
        raise CheckpointError(f"the VAE needs diffusers, which is not installed; run: {INSTALL}") from None
    logging.set_verbosity_error()
    return AutoencoderKLWan


def unreadable(folder: Path, what: str, error: Exception) -> CheckpointError:
    """Return the error for a model's folder that its library cannot read."""
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return CheckpointError(f"{folder}: not {what}, or damaged ({type(error).__name__}: {said}); fetch it again")


def check_strict(folder: Path, what: str, told: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless a library filled every parameter from a folder and used all of its tensors."""
    wrong = {key: told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if told.get(key)}
    if wrong:
        first = ", ".join(f"{key.replace('_', ' ')} {sorted(map(str, names))[:3]}" for key, names in wrong.items())
        raise CheckpointError(f"{folder}: not {what}: {first}; fetch it again")


def _moved(held: Any, device: str | torch.device) -> Any:
    return held.to(device) if isinstance(held, Tensor) else held
