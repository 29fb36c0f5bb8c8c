"""Backbones: a model, how it is sampled, and what it was trained for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from harness.backbone.attention import AttentionName, choose
from harness.backbone.kept import Kept
from harness.backbone.request import BackboneRequest
from harness.backbone.sampler import Sampler
from harness.backbone.wan import CausalWan, WanConfig
from harness.backbone.world import KnownWorld
from harness.errors import DtypeError, PresetError, shown
from harness.memory.terms import DTYPES, MemorySpec

if TYPE_CHECKING:
    from harness.training.clips import Source


class TextEncoder(Protocol):
    """Prompts to text embeddings [B, L, text_dim]."""

    def __call__(self, prompts: Sequence[str], /) -> Tensor: ...


@runtime_checkable
class Prepared(Protocol):
    """A text encoder that is better told early what it will be asked."""

    def ready(self, prompts: Iterable[str], /) -> None:
        """Do now what these prompts will need, and let go of what only that takes."""


class Decoder(Protocol):
    """One video under way, from latents to pictures."""

    def __call__(self, latents: Tensor, /) -> Tensor:
        """The next latents [B, F, C, h, w] -> their pictures [B, T, 3, height, width] in 0..1."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on after a crash."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Go on from `state_dict()`."""


class Codec(Protocol):
    """Between pictures in 0..1 and latents.

    frames_per_second: of decoded pictures.
    """

    frames_per_second: float

    def encode(self, pixels: Tensor, /) -> Tensor:
        """Pictures [B, T, 3, height, width] -> latents [B, F, C, h, w]."""
        ...

    def decode(self, latents: Tensor, /) -> Tensor:
        """Latents of a whole video -> its pictures."""
        ...

    def decoder(self) -> Decoder:
        """What decodes one video's chunks in their order."""
        ...

    def footprint(self, batch: int, latent_size: tuple[int, int], /) -> int:
        """Bytes that decoding takes beyond the weights."""
        ...


_attending: Kept[CausalWan] = Kept()
"""Twins of models, by how they compute attention."""


@dataclass(kw_only=True)
class Backbone:
    """A model with its preset; a bare `CausalWan` stands for the defaults here.

    model: as it was given, if it computes attention in the way that is asked for; else a twin that does and shares all
    parameters with it. The given model is not changed, so several backbones may be made of one model.
    chunk: latent frames denoised together. independent_first_frame: whether the first chunk is a single frame.
    trained_frames: latent frames of the longest clip it was trained on. latent_size: usual (height, width).
    latents_per_second: latent frames that one second of video takes. pictures_per_latent: pixel frames of each but the
    first, which has one. stride: pixels of a latent cell, each way.
    text, codec: from prompts to embeddings, and between pictures and latents; None for a bare model.
    world: truth and probe of its videos; None where no truth is known.
    prompts: some that it understands, to calibrate and train with. clips: what it was trained on, where that is known.
    options: what it was made with, beside device and dtype. files: SHA-256 of the files that it was read from, by path.
    attention: "auto", "sdpa" or "flash-attn"; `attention_kernel` records what that became here.
    """

    model: CausalWan
    name: str = "custom"
    sampler: Sampler = field(default_factory=Sampler)
    chunk: int = 3
    independent_first_frame: bool = False
    trained_frames: int = 21
    latent_size: tuple[int, int] = (60, 104)
    latents_per_second: float = 4.0
    pictures_per_latent: int = 4
    stride: int = 8
    attention: AttentionName = "auto"
    text: TextEncoder | None = None
    codec: Codec | None = None
    world: KnownWorld | None = None
    prompts: Sequence[str] = ()
    clips: Source | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    attention_kernel: str = field(init=False)

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise PresetError(f"a chunk of {self.chunk} latent frames cannot be; the published models use 3")
        model = self.model
        attend, self.attention_kernel = choose(self.attention, model.dtype, model.device)
        if not model.attends_by(attend):
            # The same twin each time, so that what strategies keep for a model is found again.
            self.model = _attending.get(model, attend, partial(model.with_attention, attend))

    def memory_spec(self, batch: int = 1, latent_size: tuple[int, int] | None = None) -> MemorySpec:
        """What a memory is opened for in rollouts of this backbone, at its usual size unless another is given."""
        spec = self.model.memory_spec(self.model.config.grid(latent_size or self.latent_size), self.chunk, batch)
        return replace(spec, trained_frames=self.trained_frames)

    def request(self) -> BackboneRequest:
        """What opens it again: the same name, device, dtype and options."""
        dtype = str(self.model.dtype).removeprefix("torch.")
        return BackboneRequest(name=self.name, device=str(self.model.device), dtype=dtype, options=dict(self.options))

    def prepare(self, prompts: Iterable[str]) -> None:
        """Let the text encoder do now what these prompts will need, before anything is drawn."""
        if isinstance(self.text, Prepared):
            self.text.ready(prompts)

    def pixel_frames(self, latent_frames: int) -> int:
        """Pixel frames of a whole video of so many latent frames."""
        return self.pictures_per_latent * (latent_frames - 1) + 1


CHUNKS = (3, 1)
"""Latent frames a chunk of the published models: chunk-wise ones first, then frame-wise ones."""


def check_chunk(chunk: int) -> int:
    """Return a chunk that published models were trained with. Raises PresetError for others."""
    if isinstance(chunk, bool) or chunk not in CHUNKS:
        raise PresetError(
            f"a chunk of {shown(chunk)} latent frames cannot be; allowed: {CHUNKS[0]} (as published), {CHUNKS[1]} (for "
            "frame-wise checkpoints)"
        )
    return int(chunk)


def parse_dtype(name: str) -> torch.dtype:
    """A torch data type by name, "bfloat16" for instance. Raises DtypeError for one that a backbone cannot use."""
    if name not in DTYPES:
        raise DtypeError(f"unknown dtype {name!r}; allowed: {', '.join(DTYPES)}")
    return DTYPES[name]


def check_device(name: str) -> None:
    """Raises PresetError for a device that torch does not know or that is not here."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        # AssertionError is what a torch built without CUDA raises when it is asked for it.
        raise PresetError(
            f"device {name!r} is not here; allowed: cpu{', cuda' * torch.cuda.is_available()}, and meta for shapes only"
        ) from None


def build(config: WanConfig, *, device: str = "cpu", dtype: str = "float32", seed: int = 0) -> CausalWan:
    """A model with fresh weights, the same for a seed; on "meta" shapes only."""
    kind = parse_dtype(dtype)
    check_device(device)
    with torch.device(device), torch.random.fork_rng():
        torch.manual_seed(seed)
        return CausalWan(config).to(kind).requires_grad_(False).eval()


def wan_1_3b(device: str = "cpu", dtype: str = "bfloat16", *, chunk: int = 3) -> Backbone:
    """Wan2.1-T2V-1.3B made causal, with random weights: for what does not depend on them (speed, memory, plans).

    Source: Self-Forcing, arXiv:2506.08009: chunks of 3 latent frames (chunk: 1 for frame-wise models), 4 steps, shift
    5, trained on 21 latent frames.
    """
    check_chunk(chunk)
    options = {"chunk": chunk} if chunk != CHUNKS[0] else {}
    return Backbone(name="wan-1.3b", model=build(WanConfig(), device=device, dtype=dtype), chunk=chunk, options=options)


def scramble(model: CausalWan, seed: int = 0) -> CausalWan:
    """Random weights that make every part of the network matter: for checks that need no trained model.

    Matrices are normal with variance 1 / fan-in, norm gains lie around 1, modulations and biases are not zero.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            if "norm" in name and name.endswith("weight"):
                noise = 1 + 0.1 * noise
            elif "modulation" in name:
                noise = 0.5 * noise
            elif name.endswith("bias"):
                noise = 0.1 * noise
            else:
                noise = noise / weight[0].numel() ** 0.5
            weight.copy_(noise)
    return model
