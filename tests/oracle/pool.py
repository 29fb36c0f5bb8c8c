"""The scenes of Echo-Forcing that are over, and which of them a switch brings back (spec 1.4)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .dit import FrameKV


@dataclass(frozen=True)
class Scene:
    """A scene by its prompt [L, text_dim], and the frames that can stand for it in each layer, by source."""

    prompt: Tensor
    frames: Mapping[str, list[FrameKV]]


class Pool:
    """Scenes of one video in order, at most `most`. recalls: numbers from 1 of the scenes to recall, in order."""

    def __init__(self, most: int, recalls: tuple[int, ...]) -> None:
        self.most, self.recalls = most, list(recalls)
        self.scenes: list[tuple[int, Scene]] = []
        self.ended = 0
        self.first: Scene | None = None
        """The first scene since the last switch that was not smooth, once it has been carried over."""

    def add(self, scene: Scene) -> None:
        """A scene is over."""
        self.ended += 1
        self.scenes = [*self.scenes, (self.ended, scene)][-self.most :]

    def recalled(self, kind: str, prompt: Tensor, least: int, most: int) -> tuple[Scene, int]:
        """The scene that a boundary of this kind brings back, and the temporal jump of the first chunk after it."""
        if kind == "smooth":
            if self.first is None:
                self.first = self.scenes[-1][1]
            return self.first, most
        self.first = None
        if kind == "hardcut":
            return self.scenes[-1][1], most
        alike = [float(feature(scene.prompt) @ feature(prompt)) for _, scene in self.scenes]
        chosen = alike.index(max(alike))
        if self.recalls:
            number = self.recalls.pop(0)
            chosen = [ended for ended, _ in self.scenes].index(number)
        unlike = sum(1 - similarity for similarity in alike)
        share = (1 - alike[chosen]) / unlike if unlike > 0 else 0.0
        return self.scenes[chosen][1], round(least + min(1.0, max(0.0, share)) * (most - least))


def feature(prompt: Tensor) -> Tensor:
    """Mean of the rows that are not padding, of length 1."""
    rows = torch.stack([row for row in prompt.float() if bool(row.any())])
    return rows.mean(0) / rows.mean(0).norm()
