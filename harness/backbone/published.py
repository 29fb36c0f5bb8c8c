"""The published backbones: which files they are made of, and how they are put together.

Self-Forcing, arXiv:2506.08009: Wan2.1-T2V-1.3B made causal and distilled to four steps, `generator_ema`. LongLive 1.0,
arXiv:2509.22622: its base, tuned on long videos with a window and a sink, and a LoRA adapter that is merged into it.
Text encoder and VAE are Wan2.1's. LongLive's weights are under CC-BY-NC-SA-4.0, the others under Apache-2.0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.backbone.adapters import merged, read_adapter
from harness.backbone.artifacts import SUMS, Artifact, Found, cache_folder, find, gathered, identity, weights_folder
from harness.backbone.checkpoints import fill, read_checkpoint
from harness.backbone.presets import Backbone, build, check_device, parse_dtype
from harness.backbone.wan import CausalWan, WanConfig
from harness.errors import CheckpointError, PresetError

if TYPE_CHECKING:
    from harness.backbone.vae import WanCodec

STRIDE = 8
PATCH = 2
SIZE = (480, 832)
CONFIG = "config.json"
"""In a folder of weights of one's own: the sizes of the DiT, named as Wan2.1 publishes them."""
WAN = ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "0fad780a534b6463e45facd96134c9f345acfa5b")
ENCODER, TOKENIZER, VAE = "text_encoder", "tokenizer", "vae"
SHARED = tuple(
    Artifact(*WAN, path, size, digest)
    for path, size, digest in (
        (f"{ENCODER}/config.json", 854, "4087b6192155a4643f6d29fd326c4610103130674011ef4d0a53f8bce5de967d"),
        (
            f"{ENCODER}/model-00001-of-00005.safetensors",
            4_972_389_712,
            "c0ef3a140898e228a3520c9adec60743d2e8e5b3d229651bb37f1a3921919f99",
        ),
        (
            f"{ENCODER}/model-00002-of-00005.safetensors",
            4_899_225_672,
            "481c7b2b39771c44df6dd8d13ee12ed072d731b4a650bd092885d4d52db229ad",
        ),
        (
            f"{ENCODER}/model-00003-of-00005.safetensors",
            4_966_309_504,
            "f93148bcc04052a169e1e49bfcf6125df6cf9bf243cb9c627da75266cf8e35c3",
        ),
        (
            f"{ENCODER}/model-00004-of-00005.safetensors",
            4_999_880_704,
            "a451792c739c05bca4606190cc2dd16731411bac03b4cf6aacc5767321f857c9",
        ),
        (
            f"{ENCODER}/model-00005-of-00005.safetensors",
            2_885_866_152,
            "7e76e18d224531b8197a46231cb53daf7f2f6ca707130252becf933026ac4eea",
        ),
        (
            f"{ENCODER}/model.safetensors.index.json",
            22_476,
            "8af791f24a6447aa30c95786f40adf23d3c9df97470d2f36159c8f1113f120b4",
        ),
        (f"{TOKENIZER}/tokenizer.json", 16_837_459, "20a46ac256746594ed7e1e3ef733b83fbc5a6f0922aa7480eda961743de080ef"),
        (f"{TOKENIZER}/spiece.model", 4_548_313, "e3909a67b780650b35cf529ac782ad2b6b26e6d1f849d3fbb6a872905f452458"),
        (
            f"{TOKENIZER}/tokenizer_config.json",
            61_758,
            "1d8d2a216bf8e70ac15b7ddcea566c4dd0433c024b39a58ca5e4c66bd78defbd",
        ),
        (
            f"{TOKENIZER}/special_tokens_map.json",
            7_079,
            "456b58fd240a06c743a7c2cf8008bec501240d68ebd1fc4018ea569505fea270",
        ),
        (f"{VAE}/config.json", 724, "f0c1cc1d7decb5badc384f54691746a27a9aeff49f7ebca974e583389342d527"),
        (
            f"{VAE}/diffusion_pytorch_model.safetensors",
            507_591_892,
            "d6e524b3fffede1787a74e81b30976dce5400c4439ba64222168e607ed19e793",
        ),
    )
)
LONGLIVE = ("Efficient-Large-Model/LongLive-1.3B", "cda9138d93872ef109d9a74c270184eb3a5acc6e")


@dataclass(frozen=True)
class Published:
    """A published backbone. container: of its checkpoint; adapter: a LoRA file that is merged into it."""

    name: str
    checkpoint: Artifact
    container: str
    adapter: Artifact | None = None

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """All files that it is made of."""
        return (self.checkpoint, *((self.adapter,) if self.adapter else ()), *SHARED)


SELF_FORCING = Published(
    "self-forcing",
    Artifact(
        "gdhe17/Self-Forcing",
        "2f8b779212da279d212c22a509b66ad6552f350e",
        "checkpoints/self_forcing_dmd.pt",
        5_676_252_553,
        "a0413986d9734e02c09504e1520f5697ba6df731bb2f0f35577485e9cc8f56a3",
    ),
    "generator_ema",
)
LONG_LIVE = Published(
    "longlive",
    Artifact(
        *LONGLIVE,
        "models/longlive_base.pt",
        5_676_334_208,
        "10a2aa8fcf89c77d9033f4c117405412a690e289625766619d293f0c5a208ee7",
    ),
    "generator",
    Artifact(
        *LONGLIVE,
        "models/lora.pt",
        2_800_056_690,
        "c4e43b87d62d4b0614b496773639f1ab170a7ee486dc23407901e9d3a5ebc07a",
    ),
)
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
"""Prompts to calibrate and train with: none of them is in a suite."""


def self_forcing(
    device: str = "cpu",
    dtype: str = "bfloat16",
    *,
    weights: str | Path | None = None,
    size: tuple[int, int] = SIZE,
    tiling: bool = False,
    offload: bool = False,
) -> Backbone:
    """Wan2.1-T2V-1.3B made causal by Self-Forcing: four steps, chunks of 3 latent frames, trained on 21.

    weights: a folder in which its files are looked for, before the Hugging Face cache. size: (height, width) in pixels.
    tiling, offload: see `harness.backbone.vae.WanCodec`. Raises CheckpointError where files are missing, damaged,
    unsafe, or others.
    """
    return _assembled(SELF_FORCING, device, dtype, weights, size, tiling, offload)


def longlive(
    device: str = "cpu",
    dtype: str = "bfloat16",
    *,
    weights: str | Path | None = None,
    size: tuple[int, int] = SIZE,
    tiling: bool = False,
    offload: bool = False,
) -> Backbone:
    """LongLive 1.0: Self-Forcing's model tuned on videos of a minute with a window and a sink, its adapter merged.

    Beyond the 21 latent frames of Self-Forcing's training it saw windows only, so `full` ends there, too.
    Published with attention_sink.sink=3,window=12,on_switch=recache. Arguments and errors as of `self_forcing`.
    """
    return _assembled(LONG_LIVE, device, dtype, weights, size, tiling, offload)


def files_of(name: str, weights: str | Path | None) -> list[Found]:
    """Where the files of a published backbone are, as far as their sizes tell; nothing for other backbones."""
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
) -> Backbone:
    kind = parse_dtype(dtype)
    check_device(device)
    latent_size = _latent_size(size)
    given = {
        "weights": None if weights is None else str(weights),
        "size": list(size),
        "tiling": tiling,
        "offload": offload,
    }
    options = {key: value for key, value in given.items() if value not in (None, False, list(SIZE))}
    about: dict[str, Any] = {
        "name": published.name,
        "latent_size": latent_size,
        "prompts": EXAMPLES,
        "options": options,
    }
    if device == "meta":
        return Backbone(model=build(_config(weights), device="meta", dtype=dtype), **about)
    found = gathered(published.artifacts, weights_folder(weights), published.name)
    model = _model(published, found, _config(weights), device, dtype)
    codec = _codec(found, device, kind, tiling, offload)
    _check_fit(model.config, codec)
    from harness.backbone.text import Umt5

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
    files = {path: each.sha256 for path, each in found.items()} | _own_config(weights)
    return Backbone(model=model, text=text, codec=codec, files=files, **about)


def _config(weights: str | Path | None) -> WanConfig:
    """Wan2.1-T2V-1.3B, unless a folder of weights of one's own says other sizes."""
    folder = weights_folder(weights)
    path = folder / CONFIG if folder else None
    if path is None or not path.is_file():
        return WanConfig()
    try:
        told = json.loads(path.read_text())
        if not isinstance(told, dict):
            raise TypeError(f"a {type(told).__name__} instead of names and numbers")
        return WanConfig.from_json(told)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: not the sizes of a Wan DiT ({error}); remove it for Wan2.1-T2V-1.3B") from None


def _own_config(weights: str | Path | None) -> dict[str, str]:
    """The hash of sizes of one's own, by their file's name; nothing where there are none."""
    folder = weights_folder(weights)
    path = folder / CONFIG if folder else None
    return {CONFIG: hashlib.sha256(path.read_bytes()).hexdigest()} if path is not None and path.is_file() else {}


def _model(published: Published, found: Mapping[str, Found], config: WanConfig, device: str, dtype: str) -> CausalWan:
    """The DiT, built without weights and filled with those of the file, each converted once."""
    path = _path(found, published.checkpoint)
    state, _ = read_checkpoint(path, published.container)
    if published.adapter is not None:
        adapter = _path(found, published.adapter)
        state = merged(state, read_adapter(adapter), adapter)
    model = build(config, device="meta", dtype=dtype)
    fill(model, state, path)
    return model.to(device)


def _codec(found: Mapping[str, Found], device: str, dtype: torch.dtype, tiling: bool, offload: bool) -> WanCodec:
    from harness.backbone.vae import WanCodec

    return WanCodec.load(_folder(found, VAE), device=device, dtype=dtype, tiling=tiling, offload=offload)


def _check_fit(config: WanConfig, codec: WanCodec) -> None:
    if codec.vae.config.z_dim != config.in_dim:
        raise CheckpointError(
            f"the VAE's latents have {codec.vae.config.z_dim} channels and the DiT takes {config.in_dim}; they are not "
            "of one model"
        )


def _path(found: Mapping[str, Found], artifact: Artifact) -> Path:
    path = found[artifact.path].path
    assert path is not None
    return path


def _folder(found: Mapping[str, Found], part: str) -> Path:
    """The one folder in which all files of a model are."""
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
        # Whoever reads the folder may prefer one of them, and its hash would be nobody's.
        raise CheckpointError(
            f"{folder}: holds files that nobody checked: {', '.join(others[:3])}; remove them, or list all files of "
            f"{part} in {SUMS}"
        )
    return folder


def _latent_size(size: Sequence[int]) -> tuple[int, int]:
    step = STRIDE * PATCH
    if len(size) != 2 or any(side < step or side % step for side in size):
        raise PresetError(
            f"a size of {' x '.join(map(str, size))} pixels cannot be; height and width are multiples of {step}"
        )
    return size[0] // STRIDE, size[1] // STRIDE
