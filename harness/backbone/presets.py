"""Backbones: a model, its sampling parameters, and the properties of its training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from harness.backbone.kept import Kept
from harness.backbone.kernels.attention import AttentionName, choose
from harness.backbone.kernels.fp8 import FP8, Fp8Linear
from harness.backbone.request import BackboneRequest, Compilation, check_compilation
from harness.backbone.sampler import Sampler
from harness.backbone.wan import CausalWan, WanConfig
from harness.backbone.world import KnownWorld
from harness.errors import DtypeError, PresetError, shown
from harness.memory.terms import DTYPES, MemorySpec

if TYPE_CHECKING:
    from harness.training.clips import Source


class TextEncoder(Protocol):
    """Function from prompts to text embeddings [B, L, text_dim]."""

    def __call__(self, prompts: Sequence[str], /) -> Tensor: ...


@runtime_checkable
class Prepared(Protocol):
    """A text encoder that can encode prompts in advance."""

    def ready(self, prompts: Iterable[str], /) -> None:
        """Encode these prompts now, and release what only the encoding needs."""


class Decoder(Protocol):
    """Stateful decoder of one video, from latents to pictures."""

    def __call__(self, latents: Tensor, /) -> Tensor:
        """Return the pictures [B, T, 3, height, width] in 0..1 of the next latents [B, F, C, h, w]."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state that is needed to resume after a crash."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Restore the state from `state_dict()`."""


class Codec(Protocol):
    """Conversion between pictures in 0..1 and latents.

    frames_per_second: of decoded pictures.
    """

    frames_per_second: float

    def encode(self, pixels: Tensor, /) -> Tensor:
        """Return the latents [B, F, C, h, w] of pictures [B, T, 3, height, width]."""
        ...

    def decode(self, latents: Tensor, /) -> Tensor:
        """Return the pictures of a whole video's latents."""
        ...

    def decoder(self) -> Decoder:
        """Return a decoder for the chunks of one video, in their order."""
        ...

    def footprint(self, batch: int, latent_size: tuple[int, int], /) -> int:
        """Return the bytes that decoding takes beyond the weights."""
        ...


CUSTOM = "custom"
"""Name of a backbone that was given none."""
_attending: Kept[CausalWan] = Kept()
"""Twins of models, by their attention function."""


@dataclass(kw_only=True)
class Backbone:
    """A model with its preset. A bare `CausalWan` has the defaults here.

    model: the given model if it computes attention in the requested way, else a twin that does and shares all
    parameters with it. The given model is not changed, so several backbones may be made of one model.
    chunk: latent frames denoised together. independent_first_frame: whether the first chunk is a single frame.
    trained_frames: latent frames of the longest training clip. latent_size: usual (height, width).
    latents_per_second: latent frames of one second of video. pictures_per_latent: pixel frames of each latent frame but
    the first, which has one. stride: pixels of a latent cell, in each direction.
    text, codec: prompts to embeddings, and pictures to latents and back; None for a bare model.
    world: truth and probe of its videos; None where no truth is known.
    prompts: examples that it understands, for calibration and training. clips: its training clips, where known.
    options: the arguments it was made with, beside device and dtype. files: SHA-256 of the files it was read from, by
    path. attention: a name of `kernels.attention`; `attention_kernel` records the kernel that is used here. compile:
    how rollouts run its passes.
    """

    model: CausalWan
    name: str = CUSTOM
    sampler: Sampler = field(default_factory=Sampler)
    chunk: int = 3
    independent_first_frame: bool = False
    trained_frames: int = 21
    latent_size: tuple[int, int] = (60, 104)
    latents_per_second: float = 4.0
    pictures_per_latent: int = 4
    stride: int = 8
    attention: AttentionName = "auto"
    compile: Compilation = "off"
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
            raise PresetError(f"a chunk of {self.chunk} latent frames is not possible; the published models use 3")
        model = self.model
        check_compilation(self.compile, str(model.device))
        attend, self.attention_kernel = choose(self.attention, model.dtype, model.device)
        if not model.attends_by(attend):
            # The same twin each time, so that values which strategies cache for a model are found again.
            self.model = _attending.get(model, attend, partial(model.with_attention, attend))

    @property
    def dtype(self) -> str:
        """Name of what it computes in: "bfloat16", "float32", ..., or "fp8" for bfloat16 with products in float8."""
        if any(isinstance(module, Fp8Linear) for module in self.model.modules()):
            return FP8
        return str(self.model.dtype).removeprefix("torch.")

    @classmethod
    def of(cls, model: Backbone | CausalWan, compile: Compilation | bool | None = None) -> Backbone:
        """Return a backbone whose rollouts run passes in the given way.

        Parameters
        ----------
        model
            A backbone, or a bare model, which gets the preset's defaults.
        compile
            True means "blocks", False "off"; None keeps the backbone's own way.

        Raises
        ------
        PresetError
            The way is unknown, or not possible on the device.
        """
        made = model if isinstance(model, Backbone) else cls(model=model)
        if compile is None:
            return made
        return replace(made, compile=("blocks" if compile else "off") if isinstance(compile, bool) else compile)

    def memory_spec(self, batch: int = 1, latent_size: tuple[int, int] | None = None) -> MemorySpec:
        """Return the spec of a memory for rollouts of this backbone, at its usual size unless another is given."""
        spec = self.model.memory_spec(self.model.config.grid(latent_size or self.latent_size), self.chunk, batch)
        return replace(spec, trained_frames=self.trained_frames, backbone=self.name)

    def request(self) -> BackboneRequest:
        """Return the request that opens this backbone again: the same name, device, dtype, compilation and options."""
        return BackboneRequest(
            name=self.name,
            device=str(self.model.device),
            dtype=self.dtype,
            compile=self.compile,
            options=dict(self.options),
        )

    def prepare(self, prompts: Iterable[str]) -> None:
        """Let the text encoder encode these prompts before generation begins."""
        if isinstance(self.text, Prepared):
            self.text.ready(prompts)

    def pixel_frames(self, latent_frames: int) -> int:
        """Return the pixel frames of a whole video of this many latent frames."""
        return self.pictures_per_latent * (latent_frames - 1) + 1


CHUNKS = (3, 1)
"""Latent frames a chunk of the published models: 3 for chunk-wise ones, 1 for frame-wise ones."""


def check_chunk(chunk: int) -> int:
    """Return a chunk that published models were trained with. Raises PresetError for any other."""
    if isinstance(chunk, bool) or chunk not in CHUNKS:
        raise PresetError(
            f"a chunk of {shown(chunk)} latent frames is not possible; allowed: {CHUNKS[0]} (as published), "
            f"{CHUNKS[1]} (for frame-wise checkpoints)"
        )
    return int(chunk)


def parse_dtype(name: str) -> torch.dtype:
    """Return a torch data type by name, for instance "bfloat16". Raises DtypeError for any other type."""
    if name not in DTYPES:
        raise DtypeError(f"unknown dtype {name!r}; allowed: {', '.join(DTYPES)}")
    return DTYPES[name]


def check_device(name: str) -> None:
    """Raise PresetError for a device that torch does not know or that this machine lacks."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        # A torch built without CUDA raises AssertionError for a CUDA device.
        raise PresetError(
            f"device {name!r} is not available; allowed: cpu{', cuda' * torch.cuda.is_available()}, "
            "and meta for shapes only"
        ) from None


def build(config: WanConfig, *, device: str = "cpu", dtype: str = "float32", seed: int = 0) -> CausalWan:
    """Return a model with new weights, determined by the seed; on "meta" it has shapes only."""
    kind = parse_dtype(dtype)
    check_device(device)
    with torch.device(device), torch.random.fork_rng():
        torch.manual_seed(seed)
        return CausalWan(config).to(kind).requires_grad_(False).eval()


def wan_1_3b(device: str = "cpu", dtype: str = "bfloat16", *, chunk: int = 3) -> Backbone:
    """Return Wan2.1-T2V-1.3B made causal, with random weights, for uses that do not depend on weights (speed, plans).

    Source: Self-Forcing, arXiv:2506.08009: chunks of 3 latent frames (chunk: 1 for frame-wise models), 4 steps, shift
    5, trained on 21 latent frames.
    """
    check_chunk(chunk)
    options = {"chunk": chunk} if chunk != CHUNKS[0] else {}
    return Backbone(name="wan-1.3b", model=build(WanConfig(), device=device, dtype=dtype), chunk=chunk, options=options)


def scramble(model: CausalWan, seed: int = 0) -> CausalWan:
    """Set random weights with which every part of the network matters, for checks that need no trained model.

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
