"""Similarity by DINOv2 and CLIP: to a video's own beginning, to the prompts of its scenes, to an earlier scene.

Cosines are means over all pairs of sampled frames, except pairs of a frame with itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from harness.errors import StoreError
from harness.films.contract import Act, Film
from harness.films.view_files import OF_FILM, Part
from suites.viewers.perceptual.features import Features, features
from suites.viewers.perceptual.networks import Encoder
from suites.viewers.perceptual.weights import allow_torchvision
from suites.viewers.video_file import SAMPLING, beginning, middles


class Dino:
    """Similarity of pictures by DINOv2: `dino`, `recall_dino`, `recall_dino_chance`."""

    def __init__(self, encoder: Encoder, cache: Path) -> None:
        self.encoder, self.cache = encoder, cache
        self.remedy = encoder.remedy

    def protocol(self, metric: str, film: Film) -> dict[str, Any]:
        """Return all settings that could change a number."""
        return {**self.encoder.identity(), "sampling": SAMPLING}

    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video or network."""
        seen = features(film, self.encoder, self.cache)
        if metric == "dino":
            return to_beginning(film, seen)
        found = []
        for before, act in pairwise(film.acts):
            if act.boundary == "recall":
                asked = act if metric == "recall_dino" else before
                value = mean_cosine(seen, sampled(film, asked), sampled(film, film.acts[0]))
                found.append((act.at_frame, value))
        return Part(tuple(found))


class Clip:
    """Similarity by CLIP: of pictures (`clip`), pictures and texts (`clip_score`, `clip_score_scene`, `clip_old`)."""

    def __init__(self, encoder: Encoder, cache: Path) -> None:
        self.encoder, self.cache, self.prompts = encoder, cache, Prompts(encoder)
        self.remedy = encoder.remedy

    def protocol(self, metric: str, film: Film) -> dict[str, Any]:
        """Return all settings that could change a number, and how many of the film's prompts CLIP truncates."""
        common = {**self.encoder.identity(), "sampling": SAMPLING}
        if metric == "clip":
            return common
        texts = {act.prompt for act in film.acts}
        cut = sum(map(self.prompts.too_long, texts))
        return {**common, "tokens": self.prompts.tokens, OF_FILM: {"prompts": len(texts), "prompts_cut": cut}}

    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video or network."""
        seen = features(film, self.encoder, self.cache)
        if metric == "clip":
            return to_beginning(film, seen)
        # Frames to compare, each with its prompt.
        told: list[tuple[int, list[tuple[int, str]]]]
        if metric == "clip_score":
            told = [
                (
                    span.at_frame,
                    [
                        (frame, act.prompt)
                        for frame in middles(span.start, span.end, film.rate)
                        for act in film.acts
                        if act.start <= frame < act.end
                    ],
                )
                for span in film.windows
            ]
        elif len(film.acts) < 2:
            told = []
        elif metric == "clip_score_scene":
            told = [(act.at_frame, [(frame, act.prompt) for frame in sampled(film, act)]) for act in film.acts]
        else:
            told = [
                (act.at_frame, [(frame, before.prompt) for frame in sampled(film, act)])
                for before, act in pairwise(film.acts)
            ]
        return Part(tuple((at, self._score(seen, pairs)) for at, pairs in told))

    def _score(self, seen: Features, pairs: Sequence[tuple[int, str]]) -> float | None:
        """Return 100 times the cosine of frame and prompt, at least 0, mean over pairs (Hessel et al. 2021)."""
        if not pairs:
            return None
        pictures = seen.of(frame for frame, _ in pairs)
        texts = np.stack([self.prompts.vector(text) for _, text in pairs])
        return round(float(100 * (pictures * texts).sum(1).clip(0).mean()), 6)


class Prompts:
    """CLIP's vectors of texts; texts longer than `tokens` are truncated."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._vectors: dict[str, NDArray[np.float64]] = {}

    @cached_property
    def tokens(self) -> int:
        """Most tokens of a text that CLIP reads, begin and end marks included."""
        said = self.encoder.config.get("text_config") or {}
        return int(said.get("max_position_embeddings", 77))

    def too_long(self, text: str) -> bool:
        """Return whether CLIP truncates a text."""
        return len(self._tokenizer(text, verbose=False).input_ids) > self.tokens

    @torch.inference_mode()
    def vector(self, text: str) -> NDArray[np.float64]:
        """Return the unit vector of a text, [D]."""
        if text not in self._vectors:
            given = self._tokenizer(text, truncation=True, max_length=self.tokens, return_tensors="pt")
            seen = self.encoder.model.get_text_features(**given.to(self.encoder.device)).pooler_output
            self._vectors[text] = F.normalize(seen[0].float(), dim=-1).cpu().numpy().astype(np.float64)
        return self._vectors[text]

    @cached_property
    def _tokenizer(self) -> Any:
        assert self.encoder.folder is not None
        allow_torchvision()
        from transformers import CLIPTokenizer

        try:
            return CLIPTokenizer.from_pretrained(self.encoder.folder, local_files_only=True)
        except Exception as error:  # whatever the library raises for files that it cannot read
            raise StoreError(f"{self.encoder.folder}: no tokenizer ({' '.join(str(error).split())[:200]})") from None


def sampled(film: Film, act: Act) -> list[int]:
    """Return the frames that represent a scene."""
    return middles(act.start, act.end, film.rate)


def to_beginning(film: Film, seen: Features) -> Part:
    """Return the cosine of every window to the beginning of its video."""
    first = beginning(film.reference, film.rate)
    return Part(
        tuple(
            (span.at_frame, mean_cosine(seen, middles(span.start, span.end, film.rate), first)) for span in film.windows
        )
    )


def mean_cosine(seen: Features, ones: Sequence[int], others: Sequence[int]) -> float | None:
    """Return the mean cosine over pairs of frames from two lists, except pairs of a frame with itself; None without
    pairs."""
    same = sorted(set(ones) & set(others))
    pairs = len(ones) * len(others) - len(same)
    if not pairs:
        return None
    # The sum over pairs is a product of sums, so hours of frames need no table of all pairs.
    total = seen.of(ones).sum(0) @ seen.of(others).sum(0) - np.square(seen.of(same)).sum()
    return round(float(total / pairs), 6)
