"""The docstrings of the seams have the sections of numpydoc: whoever writes a plug-in reads nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
from numpydoc.validate import validate

SEAMS = {
    "harness.memory": (
        "At", "Context", "Entries", "Layout", "Memory", "MemorySpec", "PromptSwitch", "Strategy", "Weights",
    ),
    "harness.rollout": ("Chunk", "rollout"),
    "harness.suite": (
        "Chart", "Column", "CostSuite", "Display", "Margin", "Metric", "Observer", "PictureMetric", "Place",
        "QualitySuite", "Row", "Sample", "Suite", "Table", "Task",
    ),
}  # fmt: skip
CHECKS = ("GL08", "PR01", "PR02", "PR07", "RT01", "RT03", "SS03", "SS06", "YD01")
"""Nothing is without a docstring or a section, or has a section that says nothing; summaries are one line."""


def public() -> Iterator[str]:
    for module, names in SEAMS.items():
        for name in names:
            yield f"{module}.{name}"
            thing = getattr(importlib.import_module(module), name)
            members = vars(thing).items() if isinstance(thing, type) else ()
            for member, value in members:
                described = callable(value) or isinstance(value, property | staticmethod)
                if described and not member.startswith("_"):
                    yield f"{module}.{name}.{member}"


@pytest.mark.parametrize("name", list(public()))
def test_a_docstring_has_its_sections(name: str) -> None:
    found = [(code, what) for code, what in validate(name)["errors"] if code in CHECKS]
    if name == "harness.suite.Observer":
        # A Protocol is made of nothing.
        found = [each for each in found if each[0] != "PR01"]
    assert found == []
