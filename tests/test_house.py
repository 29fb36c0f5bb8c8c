"""The layout of the project: no circle of imports, no crowded folder, no long module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "strategies", "suites", "reports")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def circles(imports: dict[str, set[str]]) -> Iterator[list[str]]:
    """Groups of modules that import one another, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> Iterator[list[str]]:
        index[module] = lowest[module] = len(index)
        stack.append(module)
        for other in sorted(imports[module]):
            if other not in index:
                yield from visit(other)
            if other in stack:
                lowest[module] = min(lowest[module], lowest[other])
        if lowest[module] == index[module]:
            found = stack[stack.index(module) :]
            del stack[-len(found) :]
            if len(found) > 1:
                yield found

    for module in imports:
        if module not in index:
            yield from visit(module)


def test_circles_are_found() -> None:
    assert list(circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()})) == [["b", "c"]]


def test_no_file_imports_itself_by_way_of_others() -> None:
    """Imports for types only and imports inside of functions count too."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in sorted(graph.modules)}
    assert list(circles(imports)) == []


def test_no_folder_has_more_than_twelve_files() -> None:
    crowded = {}
    for folder in {path.parent for path in MODULES}:
        files = [path.name for path in folder.iterdir() if path.is_file()]
        if len(files) > 12:
            crowded[str(folder.relative_to(ROOT))] = sorted(files)
    assert crowded == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_longer_than_three_hundred_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
