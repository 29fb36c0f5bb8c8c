"""Checkouts of this project: their digests, the checkout of a commit, and the environment that runs their code."""

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
"""Packages of a tree that determine its numbers."""
OWN = "horizon-bench"
"""Name of this distribution."""
VERSION = "0"
"""Version of the distribution in which a tree's entry points are registered; only the names of entry points matter."""
TAKES_TURNS = {"harness/gate/interleave.py": "harness.gate.interleave", "harness/turns.py": "harness.turns"}
"""Modules of a tree that measure in alternation with another tree, by their files; older commits have the second."""
AS_IT_IS = ("-P",)
"""Python's option that excludes the current folder from the search for modules and entry points."""


@dataclass(frozen=True)
class Tree:
    """A checkout of this project.

    Parameters
    ----------
    path
        Its folder.
    digest
        Digest of its code and weights; trees with the same digest are treated as equal.
    """

    path: Path
    digest: str

    @property
    def takes_turns(self) -> str:
        """Name of the tree's module that measures in alternation with another tree."""
        return next(module for file, module in TAKES_TURNS.items() if (self.path / file).is_file())


def tree(path: Path) -> Tree:
    """Return the tree in a folder. Raises TreeError for a folder that is not a checkout of this project."""
    if not (path / "pyproject.toml").is_file() or not any((path / file).is_file() for file in TAKES_TURNS):
        raise TreeError(f"{path}: not a checkout of Horizon that can be measured in turn; give the folder of one")
    digest = hashlib.sha256()
    files = [file for name in PACKAGES for file in (path / name).rglob("*")]
    for file in sorted(each for each in files if each.is_file() and "__pycache__" not in each.parts):
        digest.update(f"{file.relative_to(path)}\n{file.stat().st_size}\n".encode() + file.read_bytes())
    digest.update((path / "pyproject.toml").read_bytes())
    return Tree(path, digest.hexdigest()[:16])


def checked_out(ref: str, repository: Path, folder: Path) -> Tree:
    """Return the tree of a commit, branch or tag.

    The commit is checked out into a folder named by it; a complete checkout that exists is reused.

    Parameters
    ----------
    ref
        A commit, branch or tag, or the path of a checkout, which is used unchanged.
    repository
        A checkout of the repository.
    folder
        The folder of all checkouts.

    Raises
    ------
    TreeError
        git does not know the ref, or git is not installed.
    """
    if (Path(ref) / "pyproject.toml").is_file():
        return tree(Path(ref).resolve())
    commit = _git(repository, ref, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    place = folder / commit[:12]
    # An interrupted checkout lacks files.
    if not (place / ".git").exists() or _git(place, ref, "status", "--porcelain", "--untracked-files=no"):
        shutil.rmtree(place, ignore_errors=True)
        _git(repository, ref, "worktree", "prune")
        _git(repository, ref, "worktree", "add", "--quiet", "--force", "--detach", str(place.resolve()), commit)
    return tree(place)


def before(repository: Path) -> str:
    """Return the commit with which this checkout is compared by default.

    That is the commit at which its branch left the main branch; on the main branch, the present commit if files differ
    from it, else the previous commit.
    """
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
    """Return the entry points of a group that a tree's own pyproject.toml declares; the installed ones may differ."""
    return dict(_project(tree)["entry-points"].get(f"horizon.{group}", {}))


def environment(tree: Tree, folder: Path) -> dict[str, str]:
    """Return environment variables with which a process imports this tree's code and finds its entry points.

    Parameters
    ----------
    tree
        The tree.
    folder
        A folder into which the metadata of the tree's entry points are written.
    """
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
    """Return the last line of a process's output, which usually says why the process ended."""
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
        said = last_line(getattr(error, "stderr", "") or "git does not know it here (a shallow clone has no history)")
        raise TreeError(f"--against {ref}: {said}; give a commit, branch, tag, or a folder with a checkout") from None
    return done.stdout.strip()
