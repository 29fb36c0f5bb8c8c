"""The attributes of the pocket world, and the English sentences by which prompts name some of them.

    [now | cut to | back to] a|the NUMBER [size] [colour] shape|thing [motion|moves] [speed]
        [on COLOUR] [with [COLOUR] texture|marks]

"a large red disc slides fast on blue with green stripes" says everything, "a thing" nothing; what is unsaid is drawn
from the seed. "now a thing" is silence: everything stays as it is. "a curtain" covers the whole view while the scene
behind it goes on. "back to the second disc" says which earlier scene returns, by its number and by its words.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from harness.errors import PromptError

COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "white")
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": ("disc", "square", "triangle", "cross"),
    "colour": COLOURS,
    "size": ("small", "large"),
    "texture": ("stripes", "bands", "checks", "dots"),
    "ground": COLOURS,
    "accent": COLOURS,
    "motion": ("waits", "slides", "climbs", "drifts"),
    "speed": ("slowly", "fast"),
}
COLOURED = tuple(name for name, values in ATTRIBUTES.items() if values is COLOURS)
"""Attributes whose values are colours, of which no two are the same in a scene."""
Kind = Literal["first", "smooth", "hardcut", "recall"]
OPENINGS: dict[Kind, str] = {"first": "", "smooth": "now", "hardcut": "cut to", "recall": "back to"}
CURTAIN = "curtain"
NUMBERS = ("first", "second", "third", "fourth", "fifth", "sixth")
"""Words by which a sentence can name a scene of its script, in the order of the scenes."""
UNSAID = {"shape": "thing", "motion": "moves", "texture": "marks"}
"""Words that stand for an attribute that the sentence leaves open."""

VOCABULARY = tuple(
    dict.fromkeys(
        (
            *(word for values in ATTRIBUTES.values() for word in values),
            *UNSAID.values(),
            *("a", "on", "with", CURTAIN, "now", "cut", "back", "to"),
            *("the", *NUMBERS),
        )
    )
)
LONGEST = 14
"""Words of the longest sentence."""

GRAMMAR = (
    "[now | cut to | back to] a|the NUMBER [size] [colour] shape|thing [motion|moves] [speed] [on COLOUR] "
    "[with [COLOUR] texture|marks]"
)


@dataclass(frozen=True)
class Saying:
    """Content of a prompt.

    said: the attributes that it names. kind: the boundary at which it begins. covered: whether a curtain covers
    everything. number: number of the scene in its script, from 1, where the prompt names it.
    """

    said: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "first"
    covered: bool = False
    number: int | None = None

    @property
    def silent(self) -> bool:
        """Whether the prompt leaves everything as it is."""
        return self.kind == "smooth" and not self.said and not self.covered

    def sentence(self) -> str:
        """Return the prompt. Raises PromptError for an attribute or a value that the world does not have."""
        for name, value in self.said.items():
            if name not in ATTRIBUTES:
                raise PromptError(f"no attribute {name!r}; the pocket world has {', '.join(ATTRIBUTES)}")
            if value not in ATTRIBUTES[name]:
                raise PromptError(f"{name} {value!r} does not exist; allowed: {', '.join(ATTRIBUTES[name])}")
        get = self.said.get
        if self.covered:
            return f"{OPENINGS[self.kind]} a {CURTAIN}".strip()
        article = "a" if self.number is None else f"the {NUMBERS[self.number - 1]}"
        words = [OPENINGS[self.kind], article, get("size"), get("colour"), get("shape", UNSAID["shape"])]
        motion, speed = get("motion"), get("speed")
        words += [motion or (UNSAID["motion"] if speed else None), speed]
        if "ground" in self.said:
            words += ["on", get("ground")]
        if "accent" in self.said or "texture" in self.said:
            words += ["with", get("accent"), get("texture", UNSAID["texture"])]
        return " ".join(word for word in words if word)


def words_of(prompt: str) -> list[str]:
    """Return the words of a prompt. Raises PromptError, with similar words, for a word outside the vocabulary."""
    words = prompt.lower().replace(",", " ").rstrip(". ").split()
    for word in words:
        if word not in VOCABULARY:
            near = difflib.get_close_matches(word, VOCABULARY, n=3, cutoff=0.5)
            hint = f"nearest: {', '.join(near)}" if near else f"the world's words are: {', '.join(VOCABULARY)}"
            raise PromptError(f"the pocket does not know the word {word!r}; {hint}")
    if not words:
        raise PromptError(f"an empty prompt; say for instance 'a thing', or: {GRAMMAR}")
    return words


def parse(prompt: str) -> Saying:
    """Read a prompt. Raises PromptError where it is not a sentence of the world."""
    words = words_of(prompt)
    kind: Kind = "first"
    for name, opening in OPENINGS.items():
        if opening and words[: len(opening.split())] == opening.split():
            kind, words = name, words[len(opening.split()) :]
    number = None
    if words[:1] == ["the"]:
        if words[1:2] == [] or words[1] not in NUMBERS:
            raise PromptError(f"{prompt!r}: 'the' needs the number of a scene: {', '.join(NUMBERS)}")
        number, words = NUMBERS.index(words[1]) + 1, words[2:]
    elif words[:1] == ["a"]:
        words = words[1:]
    if words == [CURTAIN] and number is None:
        return Saying({}, kind, covered=True)
    turn = next((place for place, word in enumerate(words) if word in ("on", "with")), len(words))
    said = _read_object(prompt, words[:turn]) | _read_scenery(prompt, words[turn:])
    named = [said[name] for name in ("colour", "ground", "accent") if name in said]
    if len(set(named)) < len(named):
        raise PromptError(f"{prompt!r}: object, ground and marks need different colours, or they cannot be told apart")
    return Saying(said, kind, number=number)


def _read_object(prompt: str, words: Sequence[str]) -> dict[str, str]:
    """Return the attributes in the words `[size] [colour] shape|thing [motion|moves] [speed]`."""
    said: dict[str, str] = {}
    order = ["size", "colour", "shape", "motion", "speed"]
    for word in words:
        fits = [name for name in order if word in ATTRIBUTES[name] or word == UNSAID.get(name)]
        if not fits or (fits[0] in ("motion", "speed") and "shape" in order):
            raise PromptError(f"{prompt!r}: {word!r} is out of place; the order is: {GRAMMAR}")
        order = order[order.index(fits[0]) + 1 :]
        if word != UNSAID.get(fits[0]):
            said[fits[0]] = word
    if "shape" in order:
        raise PromptError(f"{prompt!r}: says no shape; write 'thing' to leave it open: {GRAMMAR}")
    return said


def _read_scenery(prompt: str, words: Sequence[str]) -> dict[str, str]:
    """Return the attributes in the words `[on COLOUR] [with [COLOUR] texture|marks]`."""
    said: dict[str, str] = {}
    rest = list(words)
    if rest[:1] == ["on"]:
        if rest[1:2] == [] or rest[1] not in COLOURS:
            raise PromptError(f"{prompt!r}: 'on' needs a colour: {', '.join(COLOURS)}")
        said["ground"], rest = rest[1], rest[2:]
    if rest[:1] == ["with"]:
        rest = rest[1:]
        if rest and rest[0] in COLOURS:
            said["accent"], rest = rest[0], rest[1:]
        if not rest or rest[0] not in (*ATTRIBUTES["texture"], UNSAID["texture"]):
            raise PromptError(f"{prompt!r}: 'with' needs a texture or 'marks' at its end: {GRAMMAR}")
        if rest[0] != UNSAID["texture"]:
            said["texture"] = rest[0]
        rest = rest[1:]
    if rest:
        raise PromptError(f"{prompt!r}: {' '.join(rest)!r} is out of place; the order is: {GRAMMAR}")
    return said


class WordEncoder:
    """Text encoder without weights: the embedding of a word is the word and its two neighbours, one-hot.

    The neighbours distinguish the roles of a colour ("red" before a shape, after "on", after "with"), which a trained
    encoder does by context.
    """

    text_dim = 3 * len(VOCABULARY)
    text_len = LONGEST + 1

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Return embeddings [B, text_len, text_dim] in float32, padded with zeros. Raises PromptError for a prompt with
        unknown words or too many."""
        out = torch.zeros(len(prompts), self.text_len, 3, len(VOCABULARY))
        for row, prompt in enumerate(prompts):
            words = words_of(prompt)
            if len(words) > LONGEST:
                raise PromptError(f"{prompt!r}: {len(words)} words; a sentence has at most {LONGEST}: {GRAMMAR}")
            ids = [VOCABULARY.index(word) for word in words]
            for place, word in enumerate(ids):
                out[row, place, 1, word] = 1
                if place:
                    out[row, place, 0, ids[place - 1]] = 1
                if place + 1 < len(ids):
                    out[row, place, 2, ids[place + 1]] = 1
        return out.flatten(2)
