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
    """What parameters are for: a strategy, a backbone with these weights, and sizes of their own, as a text."""

    strategy: str
    backbone: Backbone
    sizes: str

    @property
    def remedy(self) -> str:
        return f"train one with: horizon train {self.strategy} --backbone {self.backbone.name}"

    def identity(self) -> dict[str, str]:
        """What a file says of itself that fits; on meta there are no weights to tell apart."""
        model = self.backbone.model
        found = {"horizon": self.strategy, "backbone": self.backbone.name, "sizes": self.sizes}
        if model.device.type != "meta":
            found["weights"] = _fingerprints.get(model, "", lambda: fingerprint(model))
        return found

    def differences(self, said: Mapping[str, str]) -> list[str]:
        """In what a file is for something else."""
        return [
            f"{what} is {said.get(what, 'not given')} there and {here} here"
            for what, here in self.identity().items()
            if said.get(what) != here
        ]


@dataclass(frozen=True)
class Trained:
    """A file that fits its purpose."""

    path: Path
    about: str
    digest: str


def read(path: Path, purpose: Purpose) -> Trained:
    """Raises CheckpointError for a file that is missing, damaged, or made for another backbone or other sizes."""
    said = read_metadata(path, purpose.remedy)
    wrong = purpose.differences(said)
    if wrong:
        raise CheckpointError(f"{path}: made for something else: {'; '.join(wrong)}; {purpose.remedy}")
    return Trained(path, said.get("about", "trained"), digest(path))


def shipped(folder: Path, purpose: Purpose) -> Trained | None:
    """The file that ships for a purpose; None where there is none for these weights of the backbone and these sizes."""
    path = folder / f"{purpose.backbone.name}.safetensors"
    if not path.is_file() or purpose.differences(read_metadata(path, "reinstall Horizon")):
        return None
    return read(path, purpose)


def graduate(learner: Learner, path: Path, purpose: Purpose, folder: Path | None) -> Path:
    """Write what a learner has learned to `path`; with a `folder` also there, where `shipped` finds it."""
    learner.finish()
    about = f"trained, {learner.stage.name} after {learner.steps} steps, seed {learner.seed}"
    for place in (path, *([] if folder is None else [folder / f"{purpose.backbone.name}.safetensors"])):
        write(learner.module, place, purpose, about)
    return path


def write(module: nn.Module, path: Path, purpose: Purpose, about: str) -> None:
    """Keep parameters in half precision; the file is there whole or not at all."""
    save_weights(module, path, torch.float16, {"about": about, **purpose.identity()})
