"""Trained parameters of latent attention: files of one module list, tied to the dense backbone they were made for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from harness.backbone.checkpoints import fingerprint, read_metadata, save_weights
from harness.backbone.kept import Kept
from harness.backbone.presets import Backbone
from harness.errors import CheckpointError
from strategies.videomla.attention import Sizes

WEIGHTS = Path(__file__).parent / "weights"
"""One file a backbone, by its name."""

_fingerprints: Kept[str] = Kept()


@dataclass(frozen=True)
class Trained:
    """A file that fits a backbone."""

    path: Path
    about: str
    digest: str

    @classmethod
    def read(cls, path: Path, backbone: Backbone, sizes: Sizes) -> Trained:
        """Raises CheckpointError for a file that is missing, damaged, or made for another backbone or other sizes."""
        said = read_metadata(path, "train one with: horizon train videomla")
        wrong = _differences(said, backbone, sizes)
        if wrong:
            raise CheckpointError(
                f"{path}: made for another backbone or other sizes: {'; '.join(wrong)}; train one with: horizon train "
                f"videomla --backbone {backbone.name}"
            )
        return cls(path, said.get("about", "trained"), hashlib.sha256(path.read_bytes()).hexdigest())


def shipped(backbone: Backbone, sizes: Sizes) -> Trained | None:
    """The parameters that ship for a backbone; None where there are none for these weights of it and these sizes."""
    path = WEIGHTS / f"{backbone.name}.safetensors"
    if not path.is_file() or _differences(read_metadata(path, "reinstall Horizon"), backbone, sizes):
        return None
    return Trained.read(path, backbone, sizes)


def write(layers: nn.Module, path: Path, backbone: Backbone, sizes: Sizes, about: str) -> None:
    """Keep a module list of parameters, in half precision; the file is there whole or not at all."""
    metadata = {"horizon": "videomla", "about": about, **_identity(backbone, sizes)}
    save_weights(layers, path, torch.float16, metadata)


def _identity(backbone: Backbone, sizes: Sizes) -> dict[str, str]:
    """What a file must have been made for; on meta there are no weights to tell apart."""
    model = backbone.model
    found = {"backbone": backbone.name, "sizes": repr(sizes)}
    if model.device.type != "meta":
        found["dense"] = _fingerprints.get(model, "", lambda: fingerprint(model))
    return found


def _differences(said: Mapping[str, str], backbone: Backbone, sizes: Sizes) -> list[str]:
    return [
        f"{what} is {said.get(what, 'not given')} there and {here} here"
        for what, here in _identity(backbone, sizes).items()
        if said.get(what) != here
    ]
