"""Which code made a number: digests of the modules that compute it, so that an edited module makes its cells stale.

A digest is over syntax trees. Docstrings, comments, layout, type hints of functions and the texts of error messages do
not enter it, so that prose moves nothing. Knobs of a strategy do not enter it either: their values are recorded with
each cell, so that a new knob with a default moves nothing, and a changed default is found by its value.

Which modules compute a cell is read from the imports, beginning at the strategy, the suite, the backbone and the
rollout loop. Modules of Horizon that only find, check, store or show are left out (`PLUMBING`).
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
"""Packages of Horizon that hold code which computes."""
ROLLOUT = ("harness.rollout", "harness.rollout.task_rollout", "harness.rollout.noise")
COST = ("harness.engines.isolated", "harness.measure.meter")
"""What runs every cell, and what measures a cell of a `CostSuite`."""
PLUMBING = (
    "harness.campaign", "harness.cli", "harness.engines.cell_run", "harness.engines.children", "harness.engines.inline",
    "harness.engines.lifeline", "harness.engines.outcome", "harness.engines.processes", "harness.errors",
    "harness.escaping", "harness.files", "harness.films.checks", "harness.films.contract", "harness.films.view_files",
    "harness.limits", "harness.locks", "harness.memory.budget", "harness.memory.knobs", "harness.plan.budget",
    "harness.provenance", "harness.registry", "harness.store", "harness.suite",
)  # fmt: skip
"""Those that find, declare, check, store or show, and compute no number."""
LOOKED_AT_LATER = ("suites.viewers",)
"""Packages that read finished films in environments of their own; each view keeps its own protocol."""


@dataclass(frozen=True)
class Code:
    """The code that makes a number.

    digest: of all its modules together; empty where no source can be found. modules: the digest of each, by name.
    """

    digest: str
    modules: Mapping[str, str]


@dataclass(frozen=True)
class CellCode:
    """The code of one cell.

    all: everything but the metrics. shared: the same without the strategy, so that two strategies measured with the
    same harness have the same. metrics: of each registered picture metric, by name.
    """

    all: Code
    shared: Code
    metrics: Mapping[str, Code]

    def record(self) -> dict[str, object]:
        """What a cell keeps of it: digests only; the modules behind them are kept once a folder."""
        return {
            "digest": self.all.digest,
            "shared": self.shared.digest,
            "metrics": {name: code.digest for name, code in self.metrics.items()},
        }

    def tables(self) -> dict[str, dict[str, str]]:
        """The modules behind each digest of `record`."""
        return {code.digest: dict(code.modules) for code in (self.all, self.shared, *self.metrics.values())}


def code_of(strategy: Strategy, suite: Suite, backbone: str) -> CellCode:
    """The code of a cell.

    Parameters
    ----------
    strategy: the strategy with its knobs; the strategies that it is made of count too.
    suite: the suite; the picture metrics that it asks (`Suite.instruments`) are told apart.
    backbone: the registered name of the backbone; for one that is not registered the rollout's own code counts.
    """
    kinds = tuple(dict.fromkeys(_kinds(strategy)))
    beside = tuple(dict.fromkeys(kind for each in suite.references() for kind in _kinds(each)))
    metrics = {name: _code((type(made).__module__,), ()) for name, made in suite.instruments().items()}
    return CellCode(
        all=_code(_roots(type(suite), backbone, (*kinds, *beside)), (*kinds, *beside)),
        shared=_code(_roots(type(suite), backbone, beside), beside),
        metrics=metrics,
    )


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of the modules that differ, as paths: strategies/memrope."""
    names = sorted({*before, *now})
    return [name.replace(".", "/") for name in names if before.get(name) != now.get(name)]


def _kinds(strategy: Strategy) -> Iterator[type[Strategy]]:
    """The class of a strategy and of all that it is made of, with their bases."""
    for kind in type(strategy).__mro__:
        if issubclass(kind, Strategy) and kind is not Strategy:
            yield kind
    for part in strategy.parts().values():
        yield from _kinds(part)


def _roots(suite: type[Suite], backbone: str, kinds: Iterable[type[Strategy]]) -> tuple[str, ...]:
    """The modules at which the code of a cell begins."""
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
    """A module and the packages around it, whose `__init__` runs first; the outermost first."""
    parts = name.split(".")
    return tuple(".".join(parts[: count + 1]) for count in range(len(parts)))


@cache
def _is_loose(top: str) -> bool:
    """Whether a package of the outermost level lies in a checkout; it is not imported."""
    path = source_file(top)
    return path is not None and is_checkout(path)


@cache
def source_file(name: str) -> Path | None:
    """The file of a module; None for one that does not exist, that is built in, or that has no file."""
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
    """Where the standard library and installed packages are."""
    folders = {*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("stdlib"), sys.base_prefix}
    return tuple(Path(folder).resolve() for folder in folders)


@cache
def is_checkout(path: Path) -> bool:
    """Whether a file or folder belongs to a checkout, and not to something that was installed as a version."""
    whole = path.resolve()
    return not any(whole.is_relative_to(folder) for folder in _installed())
