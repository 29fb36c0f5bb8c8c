"""Files of parameters that strategies add to a backbone, each tied to the backbone that it was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from harness.backbone.checkpoints import fingerprint, read_metadata, save_weights
from harness.backbone.kept import Kept
from harness.backbone.presets import Backbone
from harness.errors import CheckpointError
from harness.files import digest
from harness.training.trainer import Learner

_fingerprints: Kept[str] = Kept()


@dataclass(frozen=True)
class Purpose:
    """Use of a parameter file: a strategy, a backbone with its weights, and the strategy's sizes as a text."""

    strategy: str
    backbone: Backbone
    sizes: str

    @property
    def remedy(self) -> str:
        return f"train one with: horizon train {self.strategy} --backbone {self.backbone.name}"

    def identity(self) -> dict[str, str]:
        """Return the metadata of a fitting file; on the meta device without the weights, which have no values there."""
        model = self.backbone.model
        found = {"horizon": self.strategy, "backbone": self.backbone.name, "sizes": self.sizes}
        if model.device.type != "meta":
            found["weights"] = _fingerprints.get(model, "", lambda: fingerprint(model))
        return found

    def differences(self, metadata: Mapping[str, str]) -> list[str]:
        """Return the differences between this purpose and a file's metadata."""
        return [
            f"{what} is {metadata.get(what, 'not given')} there and {here} here"
            for what, here in self.identity().items()
            if metadata.get(what) != here
        ]


@dataclass(frozen=True)
class Trained:
    """A parameter file that fits its purpose."""

    path: Path
    about: str
    digest: str


def read(path: Path, purpose: Purpose) -> Trained:
    """Return a file that fits. Raises CheckpointError for one that is missing, damaged, or for another backbone or
    sizes."""
    metadata = read_metadata(path, purpose.remedy)
    wrong = purpose.differences(metadata)
    if wrong:
        raise CheckpointError(f"{path}: trained for another purpose: {'; '.join(wrong)}; {purpose.remedy}")
    return Trained(path, metadata.get("about", "trained"), digest(path))


def shipped(folder: Path, purpose: Purpose) -> Trained | None:
    """Return the file that ships for a purpose; None where none ships for these weights and sizes."""
    path = folder / f"{purpose.backbone.name}.safetensors"
    if not path.is_file() or purpose.differences(read_metadata(path, "reinstall Horizon")):
        return None
    return read(path, purpose)


def write_trained(learner: Learner, path: Path, purpose: Purpose, folder: Path | None) -> Path:
    """Write a finished trainer's weights to `path`, and into `folder`, if given, where `shipped` finds them."""
    learner.finish()
    about = f"trained, {learner.stage.name} after {learner.steps} steps, seed {learner.seed}"
    for place in (path, *([] if folder is None else [folder / f"{purpose.backbone.name}.safetensors"])):
        write(learner.module, place, purpose, about)
    return path


def write(module: nn.Module, path: Path, purpose: Purpose, about: str) -> None:
    """Write parameters in half precision, as a whole file or not at all."""
    save_weights(module, path, torch.float16, {"about": about, **purpose.identity()})
