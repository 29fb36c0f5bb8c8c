"""Decoding of a video while its next chunk is generated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from harness.backbone.presets import Decoder


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
        self.decoder, self.to_host = decoder, to_host
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def beside(self) -> bool:
        """Whether chunks are decoded beside other work."""
        return self.stream is not None

    def start(self, latents: Tensor) -> Callable[[], Tensor]:
        """Begin to decode the next chunk, and return a function that returns its pictures.

        Parameters
        ----------
        latents
            Of the next chunk, [B, F, C, h, w].

        Returns
        -------
        Callable
            Returns the pictures [B, T, 3, H, W] in 0..1, once they are there for the current stream, or with `to_host`
            for the host.
        """
        if self.stream is None:
            pictures = self.decoder(latents)
            return lambda: pictures.cpu() if self.to_host else pictures
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            made = self.decoder(latents)
            if self.to_host:
                made = torch.empty(made.shape, dtype=made.dtype, pin_memory=True).copy_(made, non_blocking=True)
            done = self.stream.record_event()
        # The allocator must not reuse memory of one stream while the other one still reads it.
        latents.record_stream(self.stream)

        def take() -> Tensor:
            if self.to_host:
                done.synchronize()
                return made
            current = torch.cuda.current_stream()
            current.wait_event(done)
            made.record_stream(current)
            return made

        return take

    def state_dict(self) -> dict[str, Any]:
        """Return the decoder's state, after all chunks that were begun."""
        if self.stream is not None:
            torch.cuda.current_stream().wait_stream(self.stream)
        return self.decoder.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the decoder's state."""
        if self.stream is None:
            self.decoder.load_state_dict(state)
            return
        with torch.cuda.stream(self.stream):
            self.decoder.load_state_dict(state)
