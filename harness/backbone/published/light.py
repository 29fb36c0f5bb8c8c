"""A light codec of Wan's latents: a small convolutional autoencoder that was distilled from Wan's VAE.

Source: TAEHV (github.com/madebyollin/taehv), weights `taew2_1`. It reads the DiT's latents as they are, has no
attention, and its blocks read one previous frame each. Pictures differ from those of Wan's VAE, so films and records
name it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.backbone.checkpoints import fill, read_tensors
from harness.errors import ShapeError
from harness.measure.counting import weighed

CHANNELS = 16
WIDTHS = (256, 128, 64, 64)
"""Widths of the decoder's three groups of blocks and of its last layers."""
ENCODER_WIDTH = 64
BLOCKS = 3
"""Blocks of a group."""
GROWTH, POOLING = (1, 2, 2), (2, 2, 1)
"""Frames that one frame becomes in each group of the decoder, and that become one in each group of the encoder."""
PICTURES = 4
"""Pictures of a latent frame; the first latent frame of a video has one, so its first three are left out."""


class LightCodec(nn.Module):
    """Conversion between pictures and latents by a TAEHV.

    Parameters
    ----------
    networks
        Its encoder and decoder.
    """

    frames_per_second = 16.0

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.networks = networks.requires_grad_(False).eval()

    @classmethod
    def load(cls, path: Path, *, device: str, dtype: torch.dtype) -> LightCodec:
        """Load from a file of TAEHV's tensors, strictly, at the widths that it has.

        Raises
        ------
        CheckpointError
            The file cannot be read safely, or is of another network.
        """
        state, _ = read_tensors(path, ())
        with torch.device("meta"):
            networks = Networks(*_widths(state)).to(dtype)
        fill(networks, state, path)
        return cls(networks.to(device))

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return self.networks.channels

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Return the latents [B, n, C, h, w] of pictures [B, 4 n - 3, 3, 8 h, 8 w] in 0..1.

        The last picture is repeated at the end, as the released code does.
        """
        if pixels.shape[1] % PICTURES != 1:
            raise ShapeError(f"{pixels.shape[1]} pictures cannot be encoded; the codec takes 4 n - 3: 1, 5, 9, ...")
        padded = torch.cat((pixels, pixels[:, -1:].expand(-1, PICTURES - 1, -1, -1, -1)), 1)
        return _run(self.networks.encoder, padded.to(self.networks.weight), []).float()

    def decode(self, latents: Tensor) -> Tensor:
        """Return the pictures [B, 4 n - 3, 3, 8 h, 8 w] in 0..1, float32, of a whole video."""
        return self.decoder()(latents)

    def decoder(self) -> LightDecoder:
        """Return a decoder for the chunks of one video, in their order."""
        return LightDecoder(self)

    def footprint(self, batch: int, latent_size: tuple[int, int]) -> int:
        """Return the bytes that decoding takes beyond the weights, at any video length; computed on paper."""
        with torch.device("meta"):
            paper = Networks(*_widths(self.networks.state_dict())).to(self.networks.weight.dtype)
            latents = torch.empty(batch, 2, self.channels, *latent_size)
            decoder = LightDecoder(LightCodec(paper))
        with weighed() as count:
            decoder(latents)
        return count.peak_bytes


class LightDecoder:
    """Stateful decoder of one video; call it with one chunk after the other."""

    def __init__(self, codec: LightCodec) -> None:
        self.networks = codec.networks
        self.carried: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, latents: Tensor) -> Tensor:
        """Return the pictures [B, T, 3, 8 h, 8 w] in 0..1, float32, of the next latents [B, F, C, h, w]: T is 4 F, and
        three fewer at the beginning of the video."""
        begins = not self.carried
        # One latent frame after the other: at the size of pictures a chunk's frames would take three times the memory.
        frames = latents.to(self.networks.weight).split(1, 1)
        pictures = [_run(self.networks.decoder, frame, self.carried) for frame in frames]
        made = torch.cat(pictures, 1).float().clamp(0, 1)
        return made[:, PICTURES - 1 :] if begins else made

    def state_dict(self) -> dict[str, Any]:
        """Return the state that is needed to resume: the frame that each block reads next."""
        return {"carried": list(self.carried)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from `state_dict()`."""
        self.carried = [x.to(self.networks.weight.device) for x in state["carried"]]


class Bound(nn.Module):
    """Smooth limit of the latents, at three standard deviations."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)


class Block(nn.Module):
    """Residual block that reads each frame and the one before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(2 * width, width), nn.ReLU(inplace=True), _conv(width, width), nn.ReLU(inplace=True),
            _conv(width, width),
        )  # fmt: skip

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """Return [B, T, C, H, W] for frames `x`, of which the first follows `before` [B, 1, C, H, W]."""
        past = torch.cat((before, x[:, :-1]), 1)
        changed = self.conv(torch.cat((x, past), 2).flatten(0, 1)).unflatten(0, x.shape[:2])
        return functional.relu(changed + x)


class Grow(nn.Module):
    """Each frame becomes `times` frames."""

    def __init__(self, width: int, times: int) -> None:
        super().__init__()
        self.times, self.conv = times, nn.Conv2d(width, width * times, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, frames = x.shape[:2]
        return self.conv(x.flatten(0, 1)).reshape(batch, frames * self.times, -1, *x.shape[3:])


class Pool(nn.Module):
    """Each group of `times` frames becomes one frame."""

    def __init__(self, width: int, times: int) -> None:
        super().__init__()
        self.times, self.conv = times, nn.Conv2d(width * times, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        groups = x.unflatten(1, (-1, self.times)).flatten(2, 3)
        return self.conv(groups.flatten(0, 1)).unflatten(0, groups.shape[:2])


class Networks(nn.Module):
    """Encoder and decoder, with the parameter names of the published files.

    Parameters
    ----------
    encoder_width
        Of all layers of the encoder.
    widths
        Of the decoder's three groups of blocks, and of its last layers.
    channels
        Of the latents.
    """

    def __init__(
        self, encoder_width: int = ENCODER_WIDTH, widths: Sequence[int] = WIDTHS, channels: int = CHANNELS
    ) -> None:
        super().__init__()
        self.channels = channels
        encoder: list[nn.Module] = [_conv(3, encoder_width), nn.ReLU(inplace=True)]
        for times in POOLING:
            down = nn.Conv2d(encoder_width, encoder_width, 3, stride=2, padding=1, bias=False)
            encoder += [Pool(encoder_width, times), down, *(Block(encoder_width) for _ in range(BLOCKS))]
        decoder: list[nn.Module] = [Bound(), _conv(channels, widths[0]), nn.ReLU(inplace=True)]
        for (width, following), times in zip(pairwise(widths), GROWTH, strict=True):
            decoder += [*(Block(width) for _ in range(BLOCKS)), nn.Upsample(scale_factor=2), Grow(width, times)]
            decoder += [nn.Conv2d(width, following, 3, padding=1, bias=False)]
        self.encoder = nn.Sequential(*encoder, _conv(encoder_width, channels))
        self.decoder = nn.Sequential(*decoder, nn.ReLU(inplace=True), _conv(widths[-1], 3))

    @property
    def weight(self) -> Tensor:
        """One of the weights, for device and data type."""
        return next(self.parameters())


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _run(net: nn.Sequential, x: Tensor, carried: list[Tensor]) -> Tensor:
    """Apply a network to the next frames [B, T, C, H, W] of a video.

    `carried` has the frame that each block reads next, in the order of the blocks; it is empty at the beginning of a
    video, where blocks read zeros, and is updated in place.
    """
    before, carried[:] = iter(carried[:]), []
    for module in net:
        if isinstance(module, Block):
            following = x[:, -1:].clone()
            x = module(x, next(before, torch.zeros_like(following)))
            carried.append(following)
        elif isinstance(module, Grow | Pool):
            x = module(x)
        else:
            x = module(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return x


def _widths(state: Mapping[str, Tensor]) -> tuple[int, tuple[int, ...], int]:
    """Return the arguments of `Networks` that tensors fit; the published ones where their names are others."""
    names = [f"decoder.{2 + group * (BLOCKS + 3) if group else 1}.weight" for group in range(len(WIDTHS))]
    widths = tuple(_size(state, name, 0, usual) for name, usual in zip(names, WIDTHS, strict=True))
    return _size(state, "encoder.0.weight", 0, ENCODER_WIDTH), widths, _size(state, names[0], 1, CHANNELS)


def _size(state: Mapping[str, Tensor], name: str, axis: int, usual: int) -> int:
    """Return the size of a convolution's weight along an axis; `usual` where there is no such weight."""
    weight = state.get(name)
    return usual if weight is None or weight.ndim != 4 else weight.shape[axis]
