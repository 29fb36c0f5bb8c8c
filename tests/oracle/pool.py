"""The scenes of Echo-Forcing that are over, and which of them a switch brings back (spec 1.4)."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .dit import FrameKV
from .matching import Script, by_frequency, by_words, cosine, feature


@dataclass(frozen=True)
class Scene:
    """A scene by its prompt [L, text_dim], and the frames that can stand for it in each layer, by source."""

    prompt: Tensor
    frames: Mapping[str, list[FrameKV]]


class Pool:
    """Scenes of one video in order, at most `most`. recalls: numbers from 1 of the scenes to recall, in order.

    script: what is said in each scene; without it prompts are compared by their embeddings. matching, known: knobs.
    """

    def __init__(self, most: int, recalls: tuple[int, ...], script: Script | None, matching: str, known: str) -> None:
        self.most, self.recalls, self.script = most, list(recalls), script
        self.matching, self.known = matching, known
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
        alike = self.alike(prompt)
        chosen = alike.index(max(alike))
        if self.recalls:
            number = self.recalls.pop(0)
            chosen = [ended for ended, _ in self.scenes].index(number)
        unlike = sum(1 - similarity for similarity in alike)
        share = (1 - alike[chosen]) / unlike if unlike > 0 else 0.0
        return self.scenes[chosen][1], round(least + min(1.0, max(0.0, share)) * (most - least))

    def alike(self, prompt: Tensor) -> list[float]:
        """How much each remembered scene resembles the one that begins, whose prompt is [L, text_dim]."""
        if self.script is None:
            return [cosine(feature(scene.prompt), feature(prompt)) for _, scene in self.scenes]
        asked = self.script.texts[self.ended]
        texts = [self.script.texts[ended - 1] for ended, _ in self.scenes]
        corpus = self.script.texts if self.known == "script" else [*texts, asked]
        if self.matching == "idf":
            return by_frequency(asked, texts, corpus)
        return by_words(asked, texts, corpus, self.script.encode)
