"""Digests of the modules that compute a number, so that a change of a module makes its cells stale.

A digest covers syntax trees without docstrings, comments, layout, type hints of functions and texts of error messages:
a change of prose makes no cell stale. Knobs of a strategy are excluded too: their values are recorded with each cell,
so that a new knob with a default makes no cell stale, and a changed default is found by its value.

The modules of a cell are found through imports, from the strategy, the suite, the backbone and the rollout loop on.
Modules of Horizon that only find, check, store or show something are excluded (`PLUMBING`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness import registry
from harness.memory import Strategy
from harness.provenance.reader import DIGITS, read_module
from harness.suite import CostSuite, Suite

OWN = ("harness", "strategies", "suites")
"""Packages of Horizon that contain computing code."""
ROLLOUT = ("harness.rollout", "harness.rollout.task_rollout", "harness.rollout.noise")
COST = ("harness.engines.isolated", "harness.measure.meter")
"""Modules that run every cell (`ROLLOUT`), and that measure a cell of a `CostSuite`."""
PLUMBING = (
    "harness.campaign", "harness.cli", "harness.engines.cell_run", "harness.engines.children", "harness.engines.inline",
    "harness.engines.lifeline", "harness.engines.outcome", "harness.engines.processes", "harness.engines.ray",
    "harness.engines.sharing", "harness.engines.survey", "harness.errors", "harness.escaping", "harness.files",
    "harness.films.checks", "harness.films.contract", "harness.films.view_files", "harness.limits", "harness.locks",
    "harness.memory.budget", "harness.memory.knobs", "harness.plan.budget", "harness.provenance", "harness.registry",
    "harness.shards", "harness.store", "harness.suite",
)  # fmt: skip
"""Modules and packages that find, declare, check, store or show something, and compute no number."""
LOOKED_AT_LATER = ("suites.viewers", "suites.film_measures")
"""Packages that read finished films in their own environments, whose views record their protocols, and that make scores
when a report is read."""


@dataclass(frozen=True)
class Code:
    """The code that makes a number.

    Parameters
    ----------
    digest
        Digest of all its modules together; "" where no source can be found.
    modules
        The digest of each module by name.
    """

    digest: str
    modules: Mapping[str, str]


@dataclass(frozen=True)
class CellCode:
    """The code of one cell.

    Parameters
    ----------
    all
        All code but the metrics.
    shared
        The same without the strategy; it is equal for two strategies that were measured with the same harness.
    rollout
        The code that generates chunks, without strategies and suites: what the time of a chunk depends on in all cells
        of one checkout.
    metrics
        The code of each registered picture metric by name.
    """

    all: Code
    shared: Code
    rollout: Code
    metrics: Mapping[str, Code]

    def record(self) -> dict[str, object]:
        """Return the digests for `cell.json`; the manifest of the folder has the modules of each digest."""
        return {
            "digest": self.all.digest,
            "shared": self.shared.digest,
            "rollout": self.rollout.digest,
            "metrics": {name: code.digest for name, code in self.metrics.items()},
        }

    def tables(self) -> dict[str, dict[str, str]]:
        """Return the modules of each digest in `record`."""
        codes = (self.all, self.shared, self.rollout, *self.metrics.values())
        return {code.digest: dict(code.modules) for code in codes}


def code_of(strategy: Strategy, suite: Suite, backbone: str) -> CellCode:
    """Return the code of a cell.

    Parameters
    ----------
    strategy
        The strategy with its knobs; the strategies of which it consists are included.
    suite
        The suite; its picture metrics (`Suite.instruments`) are listed separately.
    backbone
        The registered name of the backbone; the module of one that is not registered is not included.
    """
    kinds = tuple(dict.fromkeys(_kinds(strategy)))
    beside = tuple(dict.fromkeys(kind for each in suite.references() for kind in _kinds(each)))
    metrics = {name: _code((type(made).__module__,), ()) for name, made in suite.instruments().items()}
    return CellCode(
        all=_code(_roots(type(suite), backbone, (*kinds, *beside)), (*kinds, *beside)),
        shared=_code(_roots(type(suite), backbone, beside), beside),
        rollout=_code(ROLLOUT, ()),
        metrics=metrics,
    )


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of the modules that differ, in the form of paths: strategies/memrope."""
    names = sorted({*before, *now})
    return [name.replace(".", "/") for name in names if before.get(name) != now.get(name)]


def _kinds(strategy: Strategy) -> Iterator[type[Strategy]]:
    """Yield the class of a strategy and of all strategies of which it consists, with their bases."""
    for kind in type(strategy).__mro__:
        if issubclass(kind, Strategy) and kind is not Strategy:
            yield kind
    for part in strategy.parts().values():
        yield from _kinds(part)


def _roots(suite: type[Suite], backbone: str, kinds: Iterable[type[Strategy]]) -> tuple[str, ...]:
    """Return the modules from which the imports of a cell's code are followed."""
    point = registry.found("backbones").get(backbone)
    return (
        *ROLLOUT,
        *(COST if issubclass(suite, CostSuite) else ()),
        *((point.module,) if point else ()),
        *(kind.__module__ for kind in suite.__mro__ if kind.__module__ not in ("builtins", "abc")),
        *(kind.__module__ for kind in kinds),
    )


@cache
def _code(roots: tuple[str, ...], kinds: tuple[type[Strategy], ...]) -> Code:
    owners: dict[str, frozenset[str]] = {}
    for kind in kinds:
        owners[kind.__module__] = owners.get(kind.__module__, frozenset()) | {kind.__qualname__}
    left_out = {*PLUMBING, *LOOKED_AT_LATER}
    tops = {*OWN, *(root.partition(".")[0] for root in roots)}
    found: dict[str, str] = {}
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        around = _with_packages(name)
        if not left_out.isdisjoint(around) or not (around[0] in tops or _is_loose(around[0])):
            continue
        waiting += around
        path = source_file(name)
        if path is not None:
            found[name], imports = read_module(path, name, owners.get(name, frozenset()))
            waiting += imports
    text = "\n".join(f"{name} {digest}" for name, digest in sorted(found.items()))
    return Code(hashlib.sha256(text.encode()).hexdigest()[:DIGITS] if found else "", dict(sorted(found.items())))


@cache
def _with_packages(name: str) -> tuple[str, ...]:
    """Return a module and its parent packages, whose `__init__` runs first; the outermost comes first."""
    parts = name.split(".")
    return tuple(".".join(parts[: count + 1]) for count in range(len(parts)))


@cache
def _is_loose(top: str) -> bool:
    """Return whether a top-level package is in a checkout, without importing it."""
    path = source_file(top)
    return path is not None and is_checkout(path)


@cache
def source_file(name: str) -> Path | None:
    """Return the file of a module; None for one that does not exist, is built in, or has no file."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if spec is None:
        if module is not None and getattr(module, "__file__", None):
            return Path(str(module.__file__))
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


@cache
def _installed() -> tuple[Path, ...]:
    """Return the folders of the standard library and of installed packages."""
    folders = {*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("stdlib"), sys.base_prefix}
    return tuple(Path(folder).resolve() for folder in folders)


@cache
def is_checkout(path: Path) -> bool:
    """Return whether a file or folder belongs to a checkout, not to an installed package or the standard library."""
    whole = path.resolve()
    return not any(whole.is_relative_to(folder) for folder in _installed())
