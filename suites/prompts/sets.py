"""The prompt sets of the package."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from harness.errors import PromptError, did_you_mean
from suites.prompts.files import content_of, from_file
from suites.prompts.prompt import PromptSet

SETS = ("steady", "switch", "recall", "six")
"""The sets of the package."""


HOME = Path(__file__).parent


SUMS = "SHA256SUMS"


@functools.cache
def built_in(name: str) -> PromptSet:
    """Return a set of the package. Raises PromptError for an unknown name, or for a file that was changed."""
    if name not in SETS:
        raise PromptError(f"no prompt set {name!r}{did_you_mean(name, SETS)}; there are {', '.join(SETS)}")
    path = HOME / f"{name}.jsonl"
    line = f"{hashlib.sha256(content_of(path)).hexdigest()}  {path.name}"
    if line not in content_of(HOME / SUMS).decode().splitlines():
        raise PromptError(
            f"{path} was changed (its SHA-256 is not the one in {SUMS}); install the package again, and keep your own "
            "prompts in a file of your own"
        )
    return from_file(path)
