"""Scripts of the pocket world: the scenes in order, their numbers, and the scene to which a return leads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import PromptError
from harness.memory import Boundary
from harness.pocket.language import ATTRIBUTES, COLOURED, CURTAIN, NUMBERS, Saying, parse

RESTING, SLOWEST = ATTRIBUTES["motion"][0], ATTRIBUTES["speed"][0]


@dataclass(frozen=True)
class Scene:
    """One scene of a script: the prompt that holds from latent frame `start` on."""

    start: int
    saying: Saying

    @property
    def prompt(self) -> str:
        return self.saying.sentence()

    @property
    def boundary(self) -> Boundary:
        """The kind of prompt switch that a memory is given; a curtain is a smooth one."""
        return "smooth" if self.saying.kind == "first" else self.saying.kind

    @property
    def counts(self) -> bool:
        """Whether the scene has a number; a curtain, silence and a return have none."""
        return not (self.saying.covered or self.saying.silent or self.saying.kind == "recall")


def script(*prompts: str | tuple[int, str]) -> tuple[Scene, ...]:
    """Return the scenes of prompts: the first prompt alone, later ones with the latent frame at which they begin.

    Raises PromptError for a script that the world cannot show.
    """
    scenes = [Scene(*((0, parse(item)) if isinstance(item, str) else (item[0], parse(item[1])))) for item in prompts]
    check(scenes)
    return tuple(scenes)


def check(scenes: Sequence[Scene]) -> list[int | None]:
    """Return to which scene each returns, as `returns` does.

    Raises PromptError for scenes in a wrong order, with a wrong number, or that return to a scene that never was.
    """
    starts = [scene.start for scene in scenes]
    if not starts or starts[0] != 0 or sorted(set(starts)) != starts:
        raise PromptError(
            f"scenes start at latent frames {starts}; the first must start at 0, each later than the last"
        )
    if scenes[0].saying.covered:
        raise PromptError(f"a video cannot begin with a {CURTAIN}: nothing is behind it yet; begin with a scene")
    origins: list[int | None] = []
    for scene, number, origin in zip(scenes, numbered(scenes), returns(scenes), strict=True):
        said = scene.saying.number
        if origin is None and said is not None and said != number:
            counted = "has no number of its own" if number is None else f"is scene {number} of the script"
            raise PromptError(
                f"{scene.prompt!r} at latent frame {scene.start} {counted}; scenes are counted from 1, curtains, "
                "silence and returns aside"
            )
        origins.append(origin)
    return origins


def numbered(scenes: Sequence[Scene]) -> list[int | None]:
    """Return the number of every scene, from 1; None for a scene without a number."""
    numbers: list[int | None] = []
    count = 0
    for place, scene in enumerate(scenes):
        counts = scene.counts or not place
        count += counts
        numbers.append(count if counts else None)
    return numbers


def returns(scenes: Sequence[Scene]) -> Iterator[int | None]:
    """Yield, for every scene, the place in `scenes` of the scene to which it returns; None where it does not return.

    That is the scene whose number the prompt names. Without a number it is, among the earlier scenes that contradict
    none of the prompt's words, the scene that shares the most words; the earliest of several. Raises PromptError where
    there is none.
    """
    numbers = numbered(scenes)
    known: list[Mapping[str, str]] = []
    for place, scene in enumerate(scenes):
        saying, origin = scene.saying, None
        before: Mapping[str, str] = {}
        if place and saying.kind == "recall" and not saying.covered:
            origin = _returns_to(scenes, place, known, numbers)
            before = known[origin]
        elif place and (saying.covered or saying.kind not in ("first", "hardcut")):
            before = known[-1]
        known.append(continued(before, saying))
        yield origin


def _returns_to(
    scenes: Sequence[Scene], place: int, known: Sequence[Mapping[str, str]], numbers: Sequence[int | None]
) -> int:
    """Return the place of the scene to which the scene at `place` returns.

    known: attributes of every earlier scene that the words of the script determine. numbers: of all scenes.
    """
    asked = scenes[place].saying
    fits = {
        earlier: sum(known[earlier].get(name) == value for name, value in asked.said.items())
        for earlier, number in enumerate(numbers[:place])
        if number is not None
        and asked.number in (None, number)
        and all(known[earlier].get(name, value) == value for name, value in asked.said.items())
    }
    if not fits:
        raise PromptError(
            f"{scenes[place].prompt!r} at latent frame {scenes[place].start} returns to a scene that was never there; "
            f"scenes so far: {'; '.join(_listed(scenes[:place]))}"
        )
    return max(fits, key=lambda earlier: (fits[earlier], -earlier))


def continued(before: Mapping[str, str], saying: Saying) -> dict[str, str]:
    """Return the attributes of a scene that follow from its prompt and from those that are known of the scene before.

    Of the attributes that the prompt does not name, all are kept but two kinds: a colour that the prompt gives to
    another attribute is left out, and an object that was at rest and begins to move is slow, since no frame has shown
    its speed; the speed is left out where it is not known whether the object was at rest.
    """
    said = saying.said
    taken = {said[name] for name in COLOURED if name in said}
    kept = {name: value for name, value in before.items() if not (name in COLOURED and value in taken)}
    if saying.kind == "smooth" and said.get("motion", RESTING) != RESTING:
        if before.get("motion") == RESTING:
            kept["speed"] = SLOWEST
        elif "motion" not in before:
            kept.pop("speed", None)
    return {**kept, **said}


def _listed(scenes: Sequence[Scene]) -> list[str]:
    """Return the scenes that have numbers, each with its number as a word."""
    return [
        f"{NUMBERS[number - 1] if number <= len(NUMBERS) else number}: {scene.prompt}"
        for scene, number in zip(scenes, numbered(scenes), strict=True)
        if number is not None
    ]
