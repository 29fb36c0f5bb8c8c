"""The knobs of LongLive-RAG, and what it takes on paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from harness.errors import KnobError
from harness.files import digest
from harness.memory import Memory, MemorySpec, Strategy, Weights, at_least_float32
from harness.memory.budget import Part, apportion
from harness.memory.frames import check_window
from strategies.longlive_rag.encoder import FrameEncoder, averaged, read_encoder
from strategies.longlive_rag.memory import Retrieval

if TYPE_CHECKING:
    from harness.backbone.presets import Backbone


@dataclass(frozen=True, kw_only=True)
class LongLiveRAG(Strategy):
    """A sink, frames retrieved from all that ever left, and recent frames.

    window: latent frames in all, sink, retrieved frames and current chunk included. sink: latent frames that never
        leave. memory: frames that are retrieved. exclude: frames, from where a plain window would end backwards, that
        are not retrieved yet.
    descriptor: of a frame: "avg_pool", the means of its latents, or "ae", by a trained frame encoder.
    encoder: its file, .safetensors or .pt.
    on_switch: at a prompt switch "keep" everything, or replay the window under the new prompt: "recache" (the sink
        stays once a frame has left) or "recache_all". The archive always stays as it is.
    """

    paper = "https://arxiv.org/abs/2606.02553"

    window: Annotated[int, Ge(1)] = 12
    sink: Annotated[int, Ge(0)] = 1
    memory: Annotated[int, Ge(0)] = 6
    exclude: Annotated[int, Ge(0)] = 5
    descriptor: Literal["avg_pool", "ae"] = "avg_pool"
    encoder: str | None = None
    on_switch: Literal["keep", "recache", "recache_all"] = "keep"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder is not None and not self.encoder.endswith((".safetensors", ".pt")):
            raise KnobError(
                f"LongLiveRAG: knob encoder = {self.encoder!r} is not allowed; allowed: a .safetensors or .pt file | "
                "none"
            )
        if (self.descriptor == "ae") != (self.encoder is not None):
            raise KnobError(
                f"LongLiveRAG: descriptor {self.descriptor} with encoder {self.encoder}; descriptor ae needs the file "
                "of a frame encoder, and avg_pool none"
            )

    @property
    def starts_as_full(self) -> bool:
        return False

    def open(self, spec: MemorySpec) -> Memory:
        check_window("longlive_rag", spec, self.window, self.sink, self.memory)
        return Retrieval(
            spec,
            window=self.window,
            sink=self.sink,
            recent=self.recent(spec),
            memory=self.memory,
            exclude=self.exclude,
            describe=self.describing(spec),
            on_switch=self.on_switch,
        )

    def describing(self, spec: MemorySpec) -> Callable[[Tensor], Tensor]:
        """What makes descriptors [B, frames, size] of latents [B, frames, C, H, W]."""
        if self.encoder is None:
            return averaged
        encoder = read_encoder(Path(self.encoder), spec.dtype, spec.device)
        if spec.latent_channels not in (None, encoder.channels):
            raise KnobError(
                f"longlive_rag: {self.encoder} encodes frames of {encoder.channels} channels, and the latents of this "
                f"backbone have {spec.latent_channels}; allowed: an encoder of {spec.latent_channels} channels"
            )
        return encoder

    def weights(self, backbone: Backbone) -> Weights | None:
        if self.encoder is None:
            return None
        read_encoder(Path(self.encoder), backbone.model.dtype, torch.device("meta"))  # or say why not
        return Weights(True, f"frame encoder {Path(self.encoder).name}", digest(Path(self.encoder)))

    def recent(self, spec: MemorySpec) -> int:
        """Recent frames beside a chunk."""
        return self.window - self.sink - self.memory - spec.chunk

    def candidates(self, frames: int) -> int:
        """How many archived frames, the oldest ones, may be retrieved for the chunk that begins after `frames`."""
        return max(0, frames - self.window - self.exclude)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        kept = min(frames, self.sink + self.recent(spec))
        return spec.bytes((kept + min(self.memory, self.candidates(frames))) * spec.frame_tokens)

    def archive_bytes(self, spec: MemorySpec, frames: int) -> int:
        gone = max(0, frames - self.sink - self.recent(spec))
        describe = self.describing(spec) if self.encoder else None
        size = describe.size if isinstance(describe, FrameEncoder) else spec.latent_channels or 0
        wide = at_least_float32(spec.dtype).itemsize
        return spec.bytes(gone * spec.frame_tokens) + spec.batch * frames * size * wide

    def resized(self, spec: MemorySpec, frames: int) -> LongLiveRAG:
        recent = self.recent(spec)
        parts = {
            "sink": Part(self.sink, least=min(1, self.sink), most=self.sink),
            "memory": Part(self.memory, least=min(1, self.memory)),
            "recent": Part(recent, least=min(1, recent)),
        }
        found = apportion(frames, parts)
        return replace(self, window=sum(found.values()) + spec.chunk, sink=found["sink"], memory=found["memory"])

    def position_limit(self, spec: MemorySpec) -> int | None:
        return self.window
