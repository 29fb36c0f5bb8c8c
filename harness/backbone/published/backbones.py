"""The published backbones: their files, and how a backbone is assembled from them.

Self-Forcing, arXiv:2506.08009: Wan2.1-T2V-1.3B made causal and distilled to four steps, `generator_ema`. LongLive 1.0,
arXiv:2509.22622: its base, tuned on long videos with a window and a sink, and a LoRA adapter that is merged into it.
Causal-Forcing, arXiv:2602.02214, and Self Gradient Forcing, arXiv:2607.20368: the model of Self-Forcing trained in
other ways, with the same names and shapes. Text encoder and VAE are Wan2.1's. LongLive's weights are under
CC-BY-NC-SA-4.0, the others under Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.backbone.checkpoints import fill, read_checkpoint
from harness.backbone.presets import CHUNKS, Backbone, build, check_chunk, check_device, parse_dtype
from harness.backbone.published.artifacts import SUMS, Artifact, Found, find, gathered, identity
from harness.backbone.published.codecs import check_decoder, check_fit, open_codec
from harness.backbone.published.lora import merged, read_adapter
from harness.backbone.published.models import (
    BY_NAME,
    CAUSAL_FORCING,
    EXAMPLES,
    LONG_LIVE,
    SELF_FORCING,
    SELF_GRADIENT_FORCING,
    DecoderName,
    Published,
)
from harness.backbone.published.pins import LIGHT_DECODER
from harness.backbone.published.places import weights_folder
from harness.backbone.published.sizes import CONFIG, config_of, own_sizes
from harness.backbone.wan import CausalWan, WanConfig
from harness.caches import cache_folder
from harness.errors import CheckpointError, PresetError
from harness.files import digest

__all__ = [
    "BY_NAME",
    "EXAMPLES",
    "LONG_LIVE",
    "SELF_FORCING",
    "Published",
    "causal_forcing",
    "files_of",
    "longlive",
    "self_forcing",
    "sgf",
]

STRIDE = 8
PATCH = 2
SIZE = (480, 832)
ENCODER, TOKENIZER, VAE = "text_encoder", "tokenizer", "vae"


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
    decoder: DecoderName = "wan",
) -> Backbone:
    """Return Wan2.1-T2V-1.3B made causal by Self-Forcing: four steps, chunks of 3 latent frames, trained on 21.

    weights: a folder that is searched for its files before the Hugging Face cache. size: (height, width) in pixels.
    tiling, offload: see `published.vae.WanCodec`. container: the container to read of a user's checkpoint that has
    several; "bare" for one without. chunk: latent frames denoised together; 1 for frame-wise checkpoints. decoder:
    "wan", or "light" for the codec of `published.light`, which needs a file of its own and none of Wan's VAE. Raises
    CheckpointError for files that are missing, damaged, unsafe or different, PresetError for another size or chunk.
    """
    return _assembled(SELF_FORCING, device, dtype, weights, size, tiling, offload, container, chunk, decoder)


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
    decoder: DecoderName = "wan",
) -> Backbone:
    """Return LongLive 1.0: Self-Forcing's model tuned on one-minute videos with a window and a sink, adapter merged.

    Beyond the 21 latent frames of Self-Forcing's training it saw windows only, so `full` stops at 21 here, too.
    Published with attention_sink.sink=3,window=12,on_switch=recache. Arguments and errors are those of `self_forcing`.
    """
    return _assembled(LONG_LIVE, device, dtype, weights, size, tiling, offload, container, chunk, decoder)


def causal_forcing(
    device: str = "cpu",
    dtype: str = "bfloat16",
    *,
    weights: str | Path | None = None,
    size: tuple[int, int] = SIZE,
    tiling: bool = False,
    offload: bool = False,
    container: str | None = None,
    chunk: int = CHUNKS[0],
    decoder: DecoderName = "wan",
) -> Backbone:
    """Return Causal-Forcing, chunk-wise: Self-Forcing's model, distilled from a causal teacher; not its moving average.

    Trained on 21 latent frames, as Self-Forcing; for longer videos its authors name infinity_rope, deep_forcing and
    rolling_sink. Its files are not pinned; the same repository has longvideo.pt, which a folder of weights may have in
    place of causal_forcing.pt, and which was published with another sampler (Rolling Forcing's, which is not here).
    Arguments and errors are those of `self_forcing`.
    """
    return _assembled(CAUSAL_FORCING, device, dtype, weights, size, tiling, offload, container, chunk, decoder)


def sgf(
    device: str = "cpu",
    dtype: str = "bfloat16",
    *,
    weights: str | Path | None = None,
    size: tuple[int, int] = SIZE,
    tiling: bool = False,
    offload: bool = False,
    container: str | None = None,
    chunk: int = CHUNKS[0],
    decoder: DecoderName = "wan",
) -> Backbone:
    """Return Self Gradient Forcing, chunk-wise: trained from Causal-Forcing's start with gradients through its memory.

    Trained on 21 latent frames. Published with attention_sink.sink=3,window=12,pinned_at=20, and with contiguous
    positions as an option: the same without pinned_at. Its files are not pinned. Arguments and errors are those of
    `self_forcing`.
    """
    return _assembled(SELF_GRADIENT_FORCING, device, dtype, weights, size, tiling, offload, container, chunk, decoder)


def files_of(name: str, weights: str | Path | None, decoder: str = "wan") -> list[Found]:
    """Return the files of a published backbone, judged by their sizes; an empty list for other backbones."""
    published = BY_NAME.get(name)
    return find(published.files(decoder), weights_folder(weights)) if published else []


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
    decoder: DecoderName,
) -> Backbone:
    kind = parse_dtype(dtype)
    check_device(device)
    check_chunk(chunk)
    check_decoder(decoder, tiling, offload)
    latent_size = _latent_size(size)
    given = {
        "weights": None if weights is None else str(weights),
        "size": list(size),
        "tiling": tiling,
        "offload": offload,
        "chunk": chunk if chunk != CHUNKS[0] else None,
        "decoder": decoder if decoder != "wan" else None,
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
        return Backbone(model=build(config_of(weights), device="meta", dtype=dtype), options=options, **about)
    # Imported first, because a missing package should be named before 29 GB are hashed and read.
    from harness.backbone.published.text import Umt5, transformers_version

    transformers_version()
    found = gathered(published.files(decoder), weights_folder(weights), published.name)
    model, taken = _model(published, found, config_of(weights), device, dtype, container)
    place = _path(found, LIGHT_DECODER) if decoder == "light" else _folder(found, VAE)
    codec = open_codec(decoder, place, device=device, dtype=kind, tiling=tiling, offload=offload)
    check_fit(model.config, codec)
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
    sizes = own_sizes(weights)
    if sizes is not None:
        files[CONFIG] = digest(sizes)
    options |= _recorded(published, taken)
    return Backbone(model=model, text=text, codec=codec, files=files, options=options, **about)


def _recorded(published: Published, container: str) -> dict[str, str]:
    """Return the option that records a model's container; none for the usual one, whose name adds nothing."""
    return {"container": container} if container != published.container else {}


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


def _path(found: Mapping[str, Found], artifact: Artifact) -> Path:
    """Return the place of an artifact's file, or of the one that stands in for it."""
    path = next(found[name].path for name in (artifact.path, *artifact.also) if name in found)
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
