"""Prompt sets for video models that were trained on long captions: those of the package, and those of a user's files.

`steady` has prompts of one scene; `switch` scripts of two, joined smoothly (odd numbers: the same subject with a new
action) or by a hard cut (even numbers: another subject at another place); `recall` scripts A, B, A in which the last
prompt names the subject of A but does not describe it; `six` stories of six scenes. The first prompts of a set are
varied.
"""

from suites.prompts.files import from_file
from suites.prompts.prompt import Prompt, PromptSet, WrittenScene, first, script
from suites.prompts.sets import HOME, SETS, SUMS, built_in

Scene = WrittenScene
"""Former name of `WrittenScene`."""

__all__ = [
    "HOME", "SETS", "SUMS", "Prompt", "PromptSet", "Scene", "WrittenScene", "built_in", "first", "from_file", "script",
]  # fmt: skip
