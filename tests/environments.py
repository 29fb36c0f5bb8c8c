"""The virtual environments in .nox/ of the sessions of noxfile.py, each made again when its requirements change.

All sessions but those of viewers and the page share one environment, .nox/horizon: torch alone is about a gigabyte, and
nox would otherwise make an environment for each parametrised session.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parents[1]
HORIZON, ENGINES, PAGE = "horizon", "engines", "page"
VIEWERS = PERCEPTUAL, VBENCH, QUALITY_MODELS = "perceptual", "vbench", "quality"
"""Names of the environments: Horizon's own, the same with Ray and submitit, that of a browser, and those of the
viewers, whose packages conflict with it or each other."""
RECIPES = {
    HORIZON: ["--editable", ".[dev]"],
    ENGINES: ["--editable", ".[dev,ray,slurm]"],
    PAGE: ["--requirement", "tests/page/requirements.txt"],
    **{name: ["--requirement", f"suites/viewers/{name}/requirements.txt"] for name in VIEWERS},
}
UNUSED = (
    r"/site-packages/.*/tests?/|/torch/testing/_internal/|/transformers/models/(?!(auto|t5|umt5|clip|dinov2)/)"
    r"|/diffusers/pipelines/(?!(__init__|pipeline_))|/(pip|sphinx|docutils|networkx|setuptools)/"
)
"""Paths of modules, half of all, that are hardly ever imported and therefore not compiled in advance."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def prepare(session: nox.Session, name: str) -> Path:
    """Make an environment, unless it exists and is current; return its Python.

    If only Horizon's entry points have changed, only Horizon is installed again, which takes seconds.
    """
    home, recipe = ROOT / ".nox" / name, RECIPES[name]
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = home / "recipe.sha256"
    known = stamp.read_text(encoding="utf-8").split() if stamp.is_file() else []
    needed, registered = _digests(name)
    if known == [needed, registered]:
        return python
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if known[:1] == [needed]:
        session.run(*pip, "--no-deps", "--no-build-isolation", "--editable", ".", external=True)
    else:
        session.run(sys.executable, "-m", "venv", "--clear", str(home), external=True)
        session.run(*pip, "--no-compile", "--constraint", "constraints.txt", *recipe, external=True)
        # On all cores; pip compiles one module after the other. 1: a package has files that are no Python of this
        # version.
        used = ("-m", "compileall", "-qq", "-j", "0", "-x", UNUSED, str(home))
        session.run(str(python), *used, external=True, success_codes=[0, 1])
    # Written last, so that an interrupted installation is started again.
    stamp.write_text(f"{needed} {registered}", encoding="utf-8")
    return python


def _digests(name: str) -> tuple[str, str]:
    """Return the digests of an environment's requirements and of Horizon's entry points in it."""
    content = (ROOT / "constraints.txt").read_bytes() + str(ROOT).encode()
    if name not in (HORIZON, ENGINES):
        return hashlib.sha256(content + (ROOT / RECIPES[name][-1]).read_bytes()).hexdigest(), "-"
    project = PROJECT["project"]
    needs = [PROJECT["build-system"], project["requires-python"], project["dependencies"]]
    needs.append(project["optional-dependencies"])
    content += json.dumps(needs, sort_keys=True).encode()
    rest = json.dumps([project["scripts"], project["entry-points"], PROJECT["tool"]["setuptools"]], sort_keys=True)
    return hashlib.sha256(content).hexdigest(), hashlib.sha256(rest.encode()).hexdigest()


def python(session: nox.Session, *arguments: str, environment: str = HORIZON, **variables: str) -> None:
    """Run a module with arguments by an environment's Python, with these environment variables."""
    path = {"PYTHONPATH": str(ROOT), **variables}
    session.run(str(prepare(session, environment)), "-m", *arguments, external=True, env=path)
