"""Decoding of a video while its next chunk is generated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from harness.backbone.presets import Decoder


class Decoded(NamedTuple):
    """A decoded chunk: its pictures [B, T, 3, H, W] in 0..1, and whether its latents are finite, one value."""

    pictures: Tensor
    finite: Tensor


class Decoding:
    """The decoding of one video, chunk by chunk.

    On a CUDA device the decoder has a stream of its own, so that it runs beside whatever follows on the current stream:
    the passes of the next chunk. Elsewhere a chunk is decoded at once.

    Parameters
    ----------
    decoder
        A fresh decoder of the video.
    device
        Of the model that makes the latents.
    to_host
        Return pictures in the host's memory. They are copied beside the passes, too, so that the host waits for the
        decoder only and not for the passes that were begun since.
    """

    def __init__(self, decoder: Decoder, device: torch.device, *, to_host: bool = False) -> None:
        self.decoder, self.device, self.to_host = decoder, device, to_host
        self.stream = _stream(device) if device.type == "cuda" else None

    @property
    def beside(self) -> bool:
        """Whether chunks are decoded beside other work."""
        return self.stream is not None

    def start(self, latents: Tensor) -> Callable[[], Decoded]:
        """Begin to decode the next chunk, and return a function that returns the result.

        Parameters
        ----------
        latents
            Of the next chunk, [B, F, C, h, w].

        Returns
        -------
        Callable
            Returns the decoded chunk, once it is there for the device's current stream, or with `to_host` for the host.
        """
        if self.stream is None:
            made = self._decoded(latents)
            return lambda: made
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            made = self._decoded(latents)
            done = self.stream.record_event()
        # The allocator must not reuse memory of one stream while the other one still reads it.
        latents.record_stream(self.stream)

        def take() -> Decoded:
            if self.to_host:
                done.synchronize()
                return made
            current = torch.cuda.current_stream(self.device)
            current.wait_event(done)
            for each in made:
                each.record_stream(current)
            return made

        return take

    def _decoded(self, latents: Tensor) -> Decoded:
        made = Decoded(self.decoder(latents), latents.isfinite().all())
        if not self.to_host:
            return made
        if self.stream is None:
            return Decoded(*(x.cpu() for x in made))
        return Decoded(*(torch.empty_like(x, device="cpu", pin_memory=True).copy_(x, non_blocking=True) for x in made))

    def state_dict(self) -> dict[str, Any]:
        """Return the decoder's state, after all chunks that were begun."""
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)
        return self.decoder.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the decoder's state."""
        if self.stream is None:
            self.decoder.load_state_dict(state)
            return
        with torch.cuda.stream(self.stream):
            self.decoder.load_state_dict(state)


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of all decoders on a device: memory that was freed on one stream serves no other one."""
    return torch.cuda.Stream(device)
