"""What is built for others: the contents of the wheel and of the source archive, and the wheel at work by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from harness import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "reports", "strategies", "suites")
BUILD = """
import sys
from setuptools import build_meta
out = sys.argv[1]
build_meta.build_wheel(out)
build_meta.build_sdist(out)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    nothing = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*PACKAGES, "docs", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=nothing)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, source)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=source, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return out


def expected() -> set[str]:
    """Every file of the packages."""
    files = (path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected()


def test_one_version_is_told_everywhere(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name.split("-")[1] == __version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == __version__
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_source_archive_has_the_packages_the_pages_and_the_sessions(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert expected() <= names
    assert {"README.md", "CHANGELOG.md", "CITATION.cff", "docs/house.md", "noxfile.py", "constraints.txt"} <= names
    # Of the tests only what noxfile.py imports.
    assert {name for name in names if name.startswith("tests/")} == {"tests/__init__.py", "tests/environments.py"}


@pytest.mark.nightly
def test_the_wheel_alone_runs(built: Path, tmp_path: Path) -> None:
    """Beside the packages that it needs, and from a folder in which nothing of Horizon lies."""
    (wheel,) = built.glob("*.whl")
    place = tmp_path / "site"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(place)
    environment = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}

    def horizon(*words: str) -> str:
        command = [sys.executable, "-P", "-m", "harness.cli", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = [sys.executable, "-P", "-c", "import harness, suites; print(harness.__file__, suites.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=True)
    assert found.stdout.count(str(place)) == 2
    horizon("sample", "a large red disc slides fast on blue with dots", "--seconds", "3")
    assert (tmp_path / "sample.mp4").is_file()
    asked = ("--tier", "gate", "--suite", "drift", "--strategy", "sliding_window", "--equal-budget", "0")
    horizon("run", *asked, "--threads", "1", "--out", "c")
    horizon("compare", "c")
    assert (tmp_path / "c" / "report.html").is_file()
    assert ", 0 failed" in horizon("verify", "sliding_window")
