"""Feature vectors of pictures: DINOv2 (Oquab et al. 2023) and CLIP (Radford et al. 2021), from files on this machine.

A picture is scaled to a shorter side (bicubic, antialiased), cropped to the central square, and normalised, as
published for each network.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from harness.caches import forbids_downloads
from harness.errors import StoreError
from suites.viewers.perceptual.weights import allow_torchvision, lacking, sha256, versions

PREPROCESSING = "preprocessor_config.json"
NEEDED = ("config.json", "model.safetensors")


@dataclass(frozen=True)
class Square:
    """Input of a network: `crop` pixels, from a picture with shorter side `short`, minus mean, divided by std."""

    short: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Kind:
    """A kind of network. type: its name in a configuration; words: the files that texts need."""

    type: str
    loader: str
    square: Square
    words: tuple[str, ...] = ()


KINDS = {
    "dino": Kind("dinov2", "Dinov2Model", Square(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
    "clip": Kind(
        "clip",
        "CLIPModel",
        Square(224, 224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ("tokenizer.json", "tokenizer_config.json"),
    ),
}


class Encoder:
    """A network of a kind, from a repository's files in the Hugging Face cache, or from a folder.

    Raises StoreError for a name that is neither; and, when used, for files that are damaged or of another network.
    """

    def __init__(self, kind: str, name: str, device: str) -> None:
        self.kind, self.short, self.name, self.device = KINDS[kind], kind, name, device
        self.is_folder = Path(name).is_dir()
        if not self.is_folder and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise StoreError(f"--{kind} {name}: no such folder, and not a repository's name (owner/name)")

    def remedy(self) -> str | None:
        """Return why it cannot be used and what to do, or None."""
        lacks = lacking(transformers="transformers", safetensors="safetensors")
        if lacks:
            return lacks
        wanted = NEEDED + self.kind.words
        missing = [name for name in wanted if self.folder is None or not (self.folder / name).is_file()]
        if not missing:
            return None
        if self.is_folder:
            return f"{self.name}: has no {' and no '.join(missing)}"
        variable = forbids_downloads()
        offline = f" ({variable} is set: unset it for that)" if variable else ""
        return (
            f"needs {self.name}; fetch it with: hf download {self.name} {' '.join((*wanted, PREPROCESSING))}{offline}"
        )

    def identity(self) -> dict[str, Any]:
        """Return everything that could change its vectors: the files' hashes, the versions, the device."""
        assert self.folder is not None
        names = (*NEEDED, PREPROCESSING, *self.kind.words)
        return {
            "model": Path(self.name).resolve().name if self.is_folder else self.name,
            "files": {name: sha256(self.folder / name) for name in names if (self.folder / name).is_file()},
            "versions": versions("torch", "transformers"),
            "device": self.device,
        }

    @cached_property
    def folder(self) -> Path | None:
        """Folder of its files; None where a repository was never fetched."""
        if self.is_folder:
            return Path(self.name)
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.name, NEEDED[0])
        return Path(found).parent if isinstance(found, str) else None

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration in its files."""
        assert self.folder is not None
        return _read(self.folder / NEEDED[0])

    @cached_property
    def model(self) -> Any:
        """The network on its device."""
        assert self.folder is not None
        allow_torchvision()
        import transformers

        transformers.utils.logging.disable_progress_bar()
        given = self.config.get("model_type")
        if given != self.kind.type:
            raise StoreError(
                f"{self.folder}: holds a network of type {given!r}, but --{self.short} needs {self.kind.type!r}"
            )
        try:
            model, report = getattr(transformers, self.kind.loader).from_pretrained(
                self.folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except Exception as error:  # whatever the library raises for files that it cannot read
            raise StoreError(f"{self.folder}: cannot be loaded ({' '.join(str(error).split())[:200]})") from None
        # Weights that a file lacks would be drawn at random, with a warning at most.
        if report["missing_keys"]:
            raise StoreError(f"{self.folder}: lacks {len(report['missing_keys'])} of the network's weights")
        return model.eval().to(self.device)

    @cached_property
    def square(self) -> Square:
        """The input format that its files state, else the published one."""
        assert self.folder is not None
        path, usual = self.folder / PREPROCESSING, self.kind.square
        said = _read(path) if path.is_file() else {}
        crop = _side(said.get("crop_size"), usual.crop)
        mean, std = said.get("image_mean", usual.mean), said.get("image_std", usual.std)
        return Square(max(crop, _side(said.get("size"), usual.short)), crop, tuple(mean), tuple(std))

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> NDArray[np.float32]:
        """Return unit vectors [T, D] of pictures uint8 [T, H, W, 3]."""
        shown = prepared(pixels.to(self.device), self.square)
        if self.short == "dino":
            seen = self.model(pixel_values=shown).last_hidden_state[:, 0]
        else:
            seen = self.model.get_image_features(pixel_values=shown).pooler_output
        vectors: NDArray[np.float32] = F.normalize(seen.float(), dim=-1).cpu().numpy()
        return vectors


def prepared(pixels: Tensor, square: Square) -> Tensor:
    """Return pictures uint8 [T, H, W, 3] in the network's input format, [T, 3, crop, crop].

    The processors of transformers are not used: they round to whole values in 0..255 after scaling, which can change a
    number by one of them, and the processor behind a name depends on whether torchvision is installed.
    """
    values = pixels.permute(0, 3, 1, 2).float() / 255
    height, width = values.shape[-2:]
    size = [square.short * side // min(height, width) for side in (height, width)]
    # Bicubic interpolation overshoots at edges, beyond the range of a picture.
    values = F.interpolate(values, size, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = ((side - square.crop) // 2 for side in size)
    values = values[..., top : top + square.crop, left : left + square.crop]
    mean, std = (values.new_tensor(each)[:, None, None] for each in (square.mean, square.std))
    return (values - mean) / std


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error})") from None
    return found if isinstance(found, dict) else {}


def _side(said: Any, usual: int) -> int:
    if isinstance(said, dict):
        said = said.get("shortest_edge", said.get("height"))
    return said if isinstance(said, int) else usual
