"""Checkouts of this project: which code is it, where does a commit's code come from, and how is it run?"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import TreeError
from harness.files import own, write_text

PACKAGES = ("harness", "strategies", "suites", "reports")
"""What of a tree decides its numbers."""
OWN = "horizon-bench"
"""The name of this distribution."""
VERSION = "0"
"""Of what a tree registers while it is measured; only the names count."""
TAKES_TURNS = {"harness/gate/interleave.py": "harness.gate.interleave", "harness/turns.py": "harness.turns"}
"""The module of a tree that measures chunk by chunk, by its file; the second is that of older commits."""
AS_IT_IS = ("-P",)
"""Python's option that keeps the folder in which it is started out of the search for modules and registered names."""


@dataclass(frozen=True)
class Tree:
    """A checkout of this project. digest: of its code and weights, so that two with the same are the same."""

    path: Path
    digest: str

    @property
    def takes_turns(self) -> str:
        """The name of its module that measures in turn with another tree."""
        return next(module for file, module in TAKES_TURNS.items() if (self.path / file).is_file())


def tree(path: Path) -> Tree:
    """The tree in a folder. Raises TreeError for a folder that is none."""
    if not (path / "pyproject.toml").is_file() or not any((path / file).is_file() for file in TAKES_TURNS):
        raise TreeError(f"{path} has no Horizon that can be measured in turn; needed: a checkout of it")
    digest = hashlib.sha256()
    files = [file for name in PACKAGES for file in (path / name).rglob("*")]
    for file in sorted(each for each in files if each.is_file() and "__pycache__" not in each.parts):
        digest.update(f"{file.relative_to(path)}\n{file.stat().st_size}\n".encode() + file.read_bytes())
    digest.update((path / "pyproject.toml").read_bytes())
    return Tree(path, digest.hexdigest()[:16])


def checked_out(ref: str, repository: Path, folder: Path) -> Tree:
    """The tree of a commit, branch or tag, in a folder of its own under `folder`; one that is there is taken again.

    A folder with a checkout is taken as it is. Raises TreeError where git knows no such thing.
    """
    if (Path(ref) / "pyproject.toml").is_file():
        return tree(Path(ref).resolve())
    commit = _git(repository, ref, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    place = folder / commit[:12]
    # One that was interrupted lacks files.
    if not (place / ".git").exists() or _git(place, ref, "status", "--porcelain", "--untracked-files=no"):
        shutil.rmtree(place, ignore_errors=True)
        _git(repository, ref, "worktree", "prune")
        _git(repository, ref, "worktree", "add", "--quiet", "--force", "--detach", str(place.resolve()), commit)
    return tree(place)


def before(repository: Path) -> str:
    """The commit that this checkout is naturally compared with: where it left the main branch; on that branch, what is
    committed if files differ from it, else the commit before."""
    head = _git(repository, "HEAD", "rev-parse", "HEAD")
    for main in ("origin/HEAD", "origin/main", "main", "origin/master", "master"):
        with suppress(TreeError):
            base = _git(repository, main, "merge-base", "HEAD", main)
            if base != head:
                return base
            return (
                head
                if _git(repository, "HEAD", "status", "--porcelain", "--untracked-files=no")
                else _git(repository, "HEAD^", "rev-parse", "--verify", "--quiet", "HEAD^")
            )
    raise TreeError(f"{repository}: no branch main or master; give --against a commit, branch, tag or checkout")


def registered(tree: Tree, group: str) -> dict[str, str]:
    """The entry points of a group that a tree registers: those that are installed are those of another one."""
    return dict(_project(tree)["entry-points"].get(f"horizon.{group}", {}))


def environment(tree: Tree, folder: Path) -> dict[str, str]:
    """Variables with which a process finds this tree's code, and the names that this tree registers."""
    project = _project(tree)
    about = own(folder, "registered", f"{project['name'].replace('-', '_')}-{VERSION}.dist-info")
    about.mkdir(parents=True, exist_ok=True)
    names = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    )
    write_text(about / "entry_points.txt", names)
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {VERSION}\n"
    write_text(about / "METADATA", metadata)
    paths = [str(about.parent.resolve()), str(tree.path.resolve()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    path = os.pathsep.join(path for path in paths if path)
    return {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": path}


def last_line(text: str) -> str:
    """What a process said last, which is usually why it ended."""
    return (text.strip().splitlines() or ["no message"])[-1]


def _project(tree: Tree) -> dict[str, Any]:
    file = tree.path / "pyproject.toml"
    try:
        project: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        if not {"name", "entry-points"} <= set(project):
            raise KeyError("entry-points")
    except (OSError, ValueError, KeyError) as error:
        raise TreeError(f"{file}: not this project's ({type(error).__name__}: {error})") from None
    return project


def _git(repository: Path, ref: str, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), *words],
            check=True,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
        )
    except FileNotFoundError:
        raise TreeError("git is not installed; give --against a folder with a checkout, or use --baseline") from None
    except subprocess.SubprocessError as error:
        said = last_line(getattr(error, "stderr", "") or "unknown to git here (a shallow clone has no history)")
        raise TreeError(f"--against {ref}: {said}; give a commit, branch, tag, or a folder with a checkout") from None
    return done.stdout.strip()
