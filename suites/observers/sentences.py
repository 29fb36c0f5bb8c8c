"""Between the rows of a task and the scenes of the pocket's world."""

from __future__ import annotations

from harness.pocket.language import ATTRIBUTES, Saying, parse
from harness.pocket.world import Scene, look
from harness.suite import Task


def scripts(task: Task) -> list[tuple[Scene, ...]]:
    """The scenes of every row."""
    return [tuple(Scene(start, parse(text)) for start, text in row.script) for row in task.rows]


def half_said(seed: int, always: tuple[str, ...] = ()) -> str:
    """A sentence that says every other attribute of what the seed draws, the even ones for even seeds."""
    drawn = look(seed)
    said = {name for number, name in enumerate(ATTRIBUTES) if (number + seed) % 2 == 0} | set(always)
    return Scene(0, Saying({name: drawn[name] for name in ATTRIBUTES if name in said})).prompt
