"""Scripts of the clips that the pocket is trained on: openings, switches, curtains, and scenes that evolve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.errors import PromptError
from harness.pocket.language import ATTRIBUTES, COLOURED, COLOURS, Saying
from harness.pocket.scenes import Scene, numbered, returns
from harness.pocket.world import look, looks_of, named
from harness.training.schedule import Turns

CHANCES = {"some": 1.0, "all": 0.25}
CHANGES = 3
"""Largest number of changes in an evolving clip."""
Random = np.random.Generator


def clip_script(
    rng: Random, seed: int, frames: int, chunk: int, turns: Turns, shape: Random | None = None
) -> tuple[Scene, ...]:
    """Return the scenes of a clip; a clip that is shorter than two chunks has one.

    shape: random numbers that decide when and how scenes change in evolving clips; shared by clips that switch
    together.
    """
    chunks = frames // chunk
    if chunks < 2:
        return (Scene(0, Saying(some_of(rng, look(seed)))),)
    if turns in ("evolve", "together"):
        return _evolving(rng, seed, chunks, chunk, shape or rng)
    made = _MAKERS.get(turns, _varied(turns))
    return made(rng, seed, chunks, chunk)


def some_of(rng: Random, whole: Mapping[str, str]) -> dict[str, str]:
    """Return some attributes of a look: all, none, or each with a probability that is drawn, too."""
    keep = (1.0, 0.0, rng.random())[int(rng.choice(3, p=[0.15, 0.2, 0.65]))]
    chosen = rng.random(len(whole)) < keep
    return {name: value for (name, value), kept in zip(whole.items(), chosen, strict=True) if kept}


def changed(rng: Random, old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Return a few attributes with new values; new colours do not occur in the old look."""
    free = [str(colour) for colour in rng.permutation([c for c in COLOURS if c not in old.values()])]
    new = {name: free.pop() if name in COLOURED else new[name] for name in ATTRIBUTES}
    return some_of(rng, new) or {"shape": new["shape"]}


def _varied(turns: Turns) -> Callable[[Random, int, int, int], tuple[Scene, ...]]:
    """Return a function that makes scripts: a quarter switch once, a sixth leave a scene and return; with "all", every
    clip switches."""

    def made(rng: Random, seed: int, chunks: int, chunk: int) -> tuple[Scene, ...]:
        first = look(seed)
        opening = Scene(0, Saying(some_of(rng, first)))
        fate = rng.random() * CHANCES[turns]
        if fate < 0.125:
            start = int(rng.integers(1, chunks)) * chunk
            return opening, Scene(start, Saying(changed(rng, first, look(seed, 1)), "smooth"))
        if fate < 0.25:
            start = int(rng.integers(1, chunks)) * chunk
            return opening, Scene(start, Saying(some_of(rng, look(seed, 1)), "hardcut"))
        if chunks >= 4 and fate < 0.42:
            away, back = sorted(int(place) * chunk for place in rng.choice(np.arange(1, chunks), 2, replace=False))
            return opening, *_excursion(rng, seed, away, back)
        return (opening,)

    return made


def _returning(rng: Random, seed: int, chunks: int, chunk: int) -> tuple[Scene, ...]:
    """Return a script that leaves its scene for at least three chunks, and returns."""
    opening = Scene(0, Saying(some_of(rng, look(seed))))
    gone = int(rng.integers(3, chunks - 1))
    away = int(rng.integers(1, chunks - gone))
    return opening, *_excursion(rng, seed, away * chunk, (away + gone) * chunk)


def _excursion(rng: Random, seed: int, away: int, back: int) -> tuple[Scene, Scene]:
    """Return a curtain or another scene, followed by the first scene again."""
    other = Saying({}, covered=True) if rng.random() < 0.5 else Saying(some_of(rng, look(seed, 1)), "hardcut")
    if other.covered and rng.random() < 0.5:
        return Scene(away, other), Scene(back, Saying(_restated(rng, look(seed)), "smooth"))
    return Scene(away, other), Scene(back, _return(rng, (Scene(0, Saying()), Scene(away, other)), 0, seed, back))


def _turning(rng: Random, seed: int, chunks: int, chunk: int) -> tuple[Scene, ...]:
    """Return a script with one or two smooth switches. A third begin with the words of a cut, so that the model also
    sees smooth switches after such words."""
    old = look(seed)
    scenes = [Scene(0, Saying(some_of(rng, old), "hardcut" if rng.random() < 1 / 3 else "first"))]
    count = 2 if chunks >= 3 and rng.random() < 1 / 3 else 1
    starts = sorted(int(place) for place in rng.choice(np.arange(1, chunks), count, replace=False))
    for number, start in enumerate(starts, 1):
        said = changed(rng, old, look(seed, number))
        scenes.append(Scene(start * chunk, Saying(said, "smooth")))
        old |= said
    return tuple(scenes)


def _evolving(rng: Random, seed: int, chunks: int, chunk: int, shape: Random) -> tuple[Scene, ...]:
    """Return a script of one to three changes, each followed by silence, by some of its words again, or by the next
    one.

    Some changes are cuts, some scenes are hidden by a curtain for a while, and clips with several scenes sometimes
    return to one of them: by words that are true of this scene alone, or by its number.
    """
    by_number = shape.random() < 0.25
    opening = Saying(some_of(rng, look(seed)), "hardcut" if rng.random() < 0.2 else "first")
    scenes = [Scene(0, _with_number(opening, 1) if by_number and rng.random() < 0.5 else opening)]
    changes = int(shape.integers(1, CHANGES + 1))
    longest = max(2, 2 * chunks // (changes + 1))
    at, made, quiet = 0, 0, True
    while True:
        at += int(shape.integers(1, longest))
        if at >= chunks:
            return tuple(scenes)
        start, now = at * chunk, _shown(scenes, seed)
        there = [place for place, number in enumerate(numbered(scenes)) if number]
        if scenes[-1].saying.covered:
            scenes.append(Scene(start, _after_curtain(rng, scenes, seed, start, shape)))
        elif not quiet and shape.random() < 0.6:
            # After a change: silence, or some attributes of the present scene are stated again.
            scenes.append(Scene(start, Saying({} if shape.random() < 0.65 else _restated(rng, now), "smooth")))
            quiet = True
        elif len(there) >= 2 and shape.random() < (0.5 if len(there) >= 3 else 0.3):
            scenes.append(Scene(start, _return(rng, scenes, int(shape.choice(there[:-1])), seed, start)))
            quiet = False
        elif shape.random() < 0.15:
            scenes.append(Scene(start, Saying({}, covered=True)))
        elif made < changes:
            fresh = look(seed, len(scenes))
            cut = shape.random() < 0.3
            said = Saying(some_of(rng, fresh), "hardcut") if cut else Saying(changed(rng, now, fresh), "smooth")
            scenes.append(Scene(start, _with_number(said, len(there) + 1) if by_number else said))
            made, quiet = made + 1, False


def _after_curtain(rng: Random, scenes: list[Scene], seed: int, start: int, shape: Random) -> Saying:
    """Return the prompt after a curtain: the hidden scene, an earlier one, or a new one."""
    fate = shape.random()
    if fate < 0.6:
        return Saying({} if shape.random() < 0.6 else _restated(rng, _shown(scenes, seed)), "smooth")
    if fate < 0.85:
        there = [place for place, number in enumerate(numbered(scenes)) if number]
        return _return(rng, scenes, int(shape.choice(there)), seed, start)
    return Saying(some_of(rng, look(seed, len(scenes))), "hardcut")


def _return(rng: Random, scenes: list[Scene] | tuple[Scene, ...], target: int, seed: int, start: int) -> Saying:
    """Return a prompt that returns to the scene at place `target`: by words that are true of no other scene, or by its
    number where a prompt stated it."""
    looks = looks_of(scenes, seed)
    numbers = numbered(scenes)
    there = [place for place, number in enumerate(numbers) if number is not None]
    whole = named(looks[target])
    if scenes[target].saying.number is not None and rng.random() < 0.8:
        return Saying(some_of(rng, whole) if rng.random() < 0.4 else {}, "recall", number=numbers[target])
    said = some_of(rng, whole)
    for _ in range(4):
        alike = [place for place in there if all(named(looks[place])[name] == said[name] for name in said)]
        saying = Saying(said, "recall")
        if (alike == [target] or not said) and _meant([*scenes, Scene(start, saying)]) == target:
            return saying
        said = some_of(rng, whole) or whole
    return Saying({}, "recall", number=numbers[target])


def _meant(scenes: Sequence[Scene]) -> int | None:
    """Return the place of the scene to which the last one returns by the words of the script; None where its words
    contradict those of all earlier scenes."""
    try:
        *_, origin = returns(scenes)
    except PromptError:
        return None
    return origin


def _restated(rng: Random, now: Mapping[str, str]) -> dict[str, str]:
    """Return a few of the present values, at least one."""
    chosen = rng.random(len(now)) < rng.uniform(0.1, 0.5)
    chosen[int(rng.integers(len(now)))] = True
    return {name: value for (name, value), kept in zip(now.items(), chosen, strict=True) if kept}


def _shown(scenes: list[Scene], seed: int) -> dict[str, str]:
    return named(looks_of(scenes, seed)[-1])


def _with_number(saying: Saying, number: int) -> Saying:
    return Saying(saying.said, saying.kind, saying.covered, number)


_MAKERS: dict[Turns, Callable[[Random, int, int, int], tuple[Scene, ...]]] = {
    "smooth": _turning,
    "return": _returning,
}
