"""The codecs of the published backbones: Wan's VAE, and a light one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch

from harness.backbone.config import WanConfig
from harness.backbone.published.models import DecoderName
from harness.errors import CheckpointError, PresetError, shown

if TYPE_CHECKING:
    from harness.backbone.published.light import LightCodec
    from harness.backbone.published.vae import WanCodec


def open_codec(
    name: DecoderName, path: Path, *, device: str, dtype: torch.dtype, tiling: bool, offload: bool
) -> LightCodec | WanCodec:
    """Return a codec, read from Wan's folder or from the light codec's file.

    Raises
    ------
    CheckpointError
        What is at `path` is damaged, unsafe, or another network.
    """
    if name == "light":
        from harness.backbone.published.light import LightCodec

        return LightCodec.load(path, device=device, dtype=dtype)
    from harness.backbone.published.vae import WanCodec

    return WanCodec.load(path, device=device, dtype=dtype, tiling=tiling, offload=offload)


def check_decoder(name: str, tiling: bool, offload: bool) -> None:
    """Raise PresetError for an unknown decoder, and for options of Wan's beside the light one."""
    if name not in get_args(DecoderName):
        raise PresetError(f"unknown decoder {shown(name)}; allowed: {', '.join(get_args(DecoderName))}")
    if name == "light" and (tiling or offload):
        raise PresetError("tiling and offload are of Wan's decoder; the light one needs neither: leave them out")


def check_fit(config: WanConfig, codec: LightCodec | WanCodec) -> None:
    """Raise CheckpointError for a codec whose latents a model does not make."""
    if codec.channels != config.in_dim:
        raise CheckpointError(
            f"the codec's latents have {codec.channels} channels and the DiT takes {config.in_dim}; use a codec and a "
            "DiT of the same model"
        )
