"""The published backbones: their files, and how a backbone is assembled from them.

Self-Forcing, arXiv:2506.08009: Wan2.1-T2V-1.3B made causal and distilled to four steps, `generator_ema`. LongLive 1.0,
arXiv:2509.22622: its base, tuned on long videos with a window and a sink, and a LoRA adapter that is merged into it.
Text encoder and VAE are Wan2.1's. LongLive's weights are under CC-BY-NC-SA-4.0, the others under Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.backbone.checkpoints import fill, read_checkpoint
from harness.backbone.presets import CHUNKS, Backbone, build, check_chunk, check_device, parse_dtype
from harness.backbone.published import pins
from harness.backbone.published.artifacts import SUMS, Artifact, Found, find, gathered, identity
from harness.backbone.published.lora import merged, read_adapter
from harness.backbone.published.places import weights_folder
from harness.backbone.wan import CausalWan, WanConfig
from harness.caches import cache_folder
from harness.errors import CheckpointError, PresetError
from harness.files import digest, load_json

if TYPE_CHECKING:
    from harness.backbone.published.vae import WanCodec

STRIDE = 8
PATCH = 2
SIZE = (480, 832)
CONFIG = "config.json"
"""In a user's folder of weights: the sizes of the DiT, named as Wan2.1 publishes them."""
LARGEST, MOST_LAYERS = 2**20, 1000
"""Largest size, and most layers, that a file may request."""
ENCODER, TOKENIZER, VAE = "text_encoder", "tokenizer", "vae"


@dataclass(frozen=True)
class Published:
    """A published backbone. container: of its checkpoint; also read from a user's checkpoint that has it. adapter: a
    LoRA file that is merged into the checkpoint."""

    name: str
    checkpoint: Artifact
    container: str
    adapter: Artifact | None = None

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All files of the backbone."""
        return (self.checkpoint, *((self.adapter,) if self.adapter else ()), *pins.WAN)


SELF_FORCING = Published("self-forcing", pins.SELF_FORCING, "generator_ema")
LONG_LIVE = Published("longlive", pins.LONGLIVE, "generator", pins.LONGLIVE_ADAPTER)
BY_NAME = {published.name: published for published in (SELF_FORCING, LONG_LIVE)}

EXAMPLES = (
    "A tabby cat with a green collar walks slowly along a wooden garden fence in the morning sun, its tail upright, "
    "while leaves move in a light wind behind it; the camera follows at its height.",
    "An old red tram drives through a narrow street in the rain at dusk, its lights mirrored on the wet stones, people "
    "with umbrellas passing by; a steady shot from the pavement.",
    "A potter in a grey apron shapes a tall vase on a turning wheel, wet clay shining between her hands, shelves of "
    "bowls out of focus behind her; close-up, soft light from a window.",
    "Waves roll onto a black sand beach below green cliffs, foam running up and back again, gulls gliding over the "
    "water; a slow aerial shot along the coast under a cloudy sky.",
    "A steam locomotive pulls brown carriages over a stone viaduct in autumn, white smoke drifting over yellow trees; "
    "the camera flies beside the train.",
    "Three orange koi swim in circles in a clear garden pond, water lilies swaying above them and light dancing on the "
    "pebbles; seen from above.",
    "A dancer in a long blue dress turns on an empty stage, the cloth flying around her, one warm spotlight from the "
    "left; a wide shot that slowly comes nearer.",
    "A small robot with a round white head waters rows of plants in a greenhouse, moving from pot to pot, steam on the "
    "glass; stylised animation with soft colours.",
)
"""Prompts for calibration and training; none of them is part of a suite."""


def self_forcing(
    device: str = "cpu",
    dtype: str = "bfloat16",
    *,
    weights: str | Path | None = None,
    size: tuple[int, int] = SIZE,
    tiling: bool = False,
    offload: bool = False,
    container: str | None = None,
    chunk: int = CHUNKS[0],
) -> Backbone:
    """Return Wan2.1-T2V-1.3B made causal by Self-Forcing: four steps, chunks of 3 latent frames, trained on 21.

    weights: a folder that is searched for its files before the Hugging Face cache. size: (height, width) in pixels.
    tiling, offload: see `published.vae.WanCodec`. container: the container to read of a user's checkpoint that has
    several; "bare" for one without. chunk: latent frames denoised together; 1 for frame-wise checkpoints. Raises
    CheckpointError for files that are missing, damaged, unsafe or different, PresetError for another size or chunk.
    """
    return _assembled(SELF_FORCING, device, dtype, weights, size, tiling, offload, container, chunk)


def longlive(
    device: str = "cpu",
    dtype: str = "bfloat16",
    *,
    weights: str | Path | None = None,
    size: tuple[int, int] = SIZE,
    tiling: bool = False,
    offload: bool = False,
    container: str | None = None,
    chunk: int = CHUNKS[0],
) -> Backbone:
    """Return LongLive 1.0: Self-Forcing's model tuned on one-minute videos with a window and a sink, adapter merged.

    Beyond the 21 latent frames of Self-Forcing's training it saw windows only, so `full` stops at 21 here, too.
    Published with attention_sink.sink=3,window=12,on_switch=recache. Arguments and errors are those of `self_forcing`.
    """
    return _assembled(LONG_LIVE, device, dtype, weights, size, tiling, offload, container, chunk)


def files_of(name: str, weights: str | Path | None) -> list[Found]:
    """Return the files of a published backbone, judged by their sizes; an empty list for other backbones."""
    published = BY_NAME.get(name)
    return find(published.artifacts, weights_folder(weights)) if published else []


def _assembled(
    published: Published,
    device: str,
    dtype: str,
    weights: str | Path | None,
    size: tuple[int, int],
    tiling: bool,
    offload: bool,
    container: str | None,
    chunk: int,
) -> Backbone:
    kind = parse_dtype(dtype)
    check_device(device)
    check_chunk(chunk)
    latent_size = _latent_size(size)
    given = {
        "weights": None if weights is None else str(weights),
        "size": list(size),
        "tiling": tiling,
        "offload": offload,
        "chunk": chunk if chunk != CHUNKS[0] else None,
    }
    options = {key: value for key, value in given.items() if value not in (None, False, list(SIZE))}
    about: dict[str, Any] = {
        "name": published.name,
        "latent_size": latent_size,
        "prompts": EXAMPLES,
        "chunk": chunk,
    }
    if device == "meta":
        # On meta no file is read, so the requested container is the only one known.
        options |= _recorded(published, container or published.container)
        return Backbone(model=build(_config(weights), device="meta", dtype=dtype), options=options, **about)
        # Checked first, because hashing and reading 29 GB takes long.
    from harness.backbone.published.text import Umt5, transformers_version

    transformers_version()
    found = gathered(published.artifacts, weights_folder(weights), published.name)
    model, taken = _model(published, found, _config(weights), device, dtype, container)
    codec = _codec(found, device, kind, tiling, offload)
    _check_fit(model.config, codec)
    encoder = {path: each for path, each in found.items() if each.artifact.part in (ENCODER, TOKENIZER)}
    text = Umt5(
        _folder(found, ENCODER),
        _folder(found, TOKENIZER),
        identity=identity(encoder),
        cache=cache_folder() / "text",
        text_len=model.config.text_len,
        text_dim=model.config.text_dim,
        device=device,
        dtype=kind,
    )
    files = {path: each.sha256 for path, each in found.items()}
    sizes = _own_sizes(weights)
    if sizes is not None:
        files[CONFIG] = digest(sizes)
    options |= _recorded(published, taken)
    return Backbone(model=model, text=text, codec=codec, files=files, options=options, **about)


def _recorded(published: Published, container: str) -> dict[str, str]:
    """Return the option that records a model's container; none for the usual one, whose name adds nothing."""
    return {"container": container} if container != published.container else {}


def _config(weights: str | Path | None) -> WanConfig:
    """Return the sizes of Wan2.1-T2V-1.3B, unless the user's folder of weights gives other sizes."""
    path = _own_sizes(weights)
    if path is None:
        return WanConfig()
    try:
        told = load_json(path)
        if not isinstance(told, dict):
            raise TypeError(f"a {type(told).__name__} instead of names and numbers")
        config = WanConfig.from_json(told)
        large = [field.name for field in fields(config) if _largest(getattr(config, field.name)) > LARGEST]
        if large or config.num_layers > MOST_LAYERS:
            raise ValueError(f"{(large or ['num_layers'])[0]} is larger than that of any model")
        return config
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not the sizes of a Wan DiT ({error}); remove it to use the sizes of Wan2.1-T2V-1.3B"
        ) from None


def _largest(value: Any) -> float:
    return max(value, default=0) if isinstance(value, tuple) else value or 0


def _own_sizes(weights: str | Path | None) -> Path | None:
    """Return the file with the user's own sizes, if there is one."""
    folder = weights_folder(weights)
    path = folder / CONFIG if folder else None
    return path if path is not None and path.is_file() else None


def _model(
    published: Published,
    found: Mapping[str, Found],
    config: WanConfig,
    device: str,
    dtype: str,
    container: str | None,
) -> tuple[CausalWan, str]:
    """Return the DiT filled with the file's weights, each converted once, and the container that was read."""
    path = _path(found, published.checkpoint)
    state, taken = read_checkpoint(path, container, published.container)
    if published.adapter is not None:
        adapter = _path(found, published.adapter)
        state = merged(state, read_adapter(adapter), adapter)
    model = build(config, device="meta", dtype=dtype)
    fill(model, state, path)
    return model.to(device), taken


def _codec(found: Mapping[str, Found], device: str, dtype: torch.dtype, tiling: bool, offload: bool) -> WanCodec:
    from harness.backbone.published.vae import WanCodec

    return WanCodec.load(_folder(found, VAE), device=device, dtype=dtype, tiling=tiling, offload=offload)


def _check_fit(config: WanConfig, codec: WanCodec) -> None:
    if codec.vae.config.z_dim != config.in_dim:
        raise CheckpointError(
            f"the VAE's latents have {codec.vae.config.z_dim} channels and the DiT takes {config.in_dim}; use a VAE "
            "and a DiT of the same model"
        )


def _path(found: Mapping[str, Found], artifact: Artifact) -> Path:
    path = found[artifact.path].path
    assert path is not None
    return path


def _folder(found: Mapping[str, Found], part: str) -> Path:
    """Return the one folder that contains all files of a model."""
    folders = {each.path.parent for each in found.values() if each.artifact.part == part and each.path is not None}
    if len(folders) != 1:
        raise CheckpointError(
            f"the files of {part} are spread over {', '.join(map(str, sorted(folders)))}; put them into one folder"
        )
    folder = folders.pop()
    checked = {each.path.name for each in found.values() if each.artifact.part == part and each.path is not None}
    others = sorted(
        path.name for path in folder.iterdir() if path.name not in checked and not path.name.startswith(".")
    )
    if others:
        # The library that reads the folder may prefer one of them, whose hash is not recorded.
        raise CheckpointError(
            f"{folder}: holds files without a recorded sum: {', '.join(others[:3])}; move them away, or list all files "
            f"of {part} in {SUMS}"
        )
    return folder


def _latent_size(size: Sequence[int]) -> tuple[int, int]:
    step = STRIDE * PATCH
    if len(size) != 2 or any(side < step or side % step for side in size):
        raise PresetError(
            f"a size of {' x '.join(map(str, size))} pixels is not possible; height and width must be multiples "
            f"of {step}"
        )
    return size[0] // STRIDE, size[1] // STRIDE
