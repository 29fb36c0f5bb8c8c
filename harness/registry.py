"""Strategies, suites and backbones by name: entry points that are loaded on first use.

A third party registers with the same groups that Horizon itself uses: `horizon.strategies` (a `Strategy` subclass),
`horizon.suites` (a `Suite` subclass), `horizon.metrics` (a `PictureMetric` subclass), `horizon.backbones` (a function
of device, dtype and its own options that returns a `Backbone`), `horizon.trainings` (a `Recipe`, usually a module), and
`horizon.calibrations` (a `Calibration`, usually a module).
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from harness.backbone.kernels.fp8 import FP8, with_fp8
from harness.backbone.presets import Backbone
from harness.backbone.request import BackboneRequest, check_compilation
from harness.errors import DtypeError, KnobError, PresetError, RegistryError, UnknownNameError
from harness.memory import Strategy
from harness.memory.knobs import check_names, recorded, typed, with_text
from harness.memory.terms import DTYPES

Group = Literal["strategies", "suites", "metrics", "backbones", "trainings", "calibrations"]


@cache
def found(group: Group) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, sorted by name; nothing is imported.

    Raises RegistryError where two packages register the same name.
    """
    by_name: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=f"horizon.{group}"), key=lambda point: point.name):
        other = by_name.setdefault(point.name, point)
        if other.value != point.value:
            raise RegistryError(
                f"two packages register the {group} name {point.name!r}: {_origin(other)} and {_origin(point)}; "
                "uninstall one or rename its entry point"
            )
    return by_name


def load(group: Group, name: str) -> Any:
    """Return the object of the entry point `name`.

    Raises UnknownNameError, with the most similar names, for a name that is not registered, and RegistryError for an
    entry point that cannot be loaded.
    """
    points = found(group)
    if not points:
        raise RegistryError(f"no {group} are registered: Horizon is not installed here; run pip install -e .")
    if name not in points:
        close = difflib.get_close_matches(name, points, n=2)
        hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise UnknownNameError(f"no {group} entry is called {name!r}; {hint}There are: {', '.join(points)}")
    try:
        return points[name].load()
    except Exception as error:
        raise RegistryError(
            f"{name!r} from {_origin(points[name])} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def strategy_class(name: str) -> type[Strategy]:
    """Return the class of the strategy called `name`.

    Raises UnknownNameError for a name that is not registered, and RegistryError for an entry point that is not a
    complete subclass of `Strategy`.
    """
    made = load("strategies", name)
    origin = _origin(found("strategies")[name])
    if not (isinstance(made, type) and issubclass(made, Strategy)):
        raise RegistryError(f"{name!r} from {origin} is {made!r}; a strategy is a subclass of harness.memory.Strategy")
    missing = [*sorted(made.__abstractmethods__), *([] if hasattr(made, "paper") else ["paper"])]
    if missing:
        raise RegistryError(f"{name!r} from {origin} is not finished: it lacks {', '.join(missing)}")
    return made


def strategy(name: str, **knobs: Any) -> Strategy:
    """Return the strategy called `name` with these knobs. Raises KnobError, which names the allowed knobs."""
    kind = strategy_class(name)
    check_names(name, kind, knobs)
    return kind(**knobs)


def parse_strategy(text: str) -> tuple[str, Strategy]:
    """Return the name and the strategy of a text `NAME` or `NAME.KNOB=VALUE[,KNOB=VALUE...]`.

    Values are JSON, except that strings need no quotes.
    """
    name, knobs = parse_knobs(text)
    return name, strategy(name, **knobs)


def strategy_in_knob(value: Any) -> Any:
    """Return the strategy that is the value of a knob, for `__post_init__` of a strategy that consists of others.

    Parameters
    ----------
    value
        A text in the form of `parse_strategy`, with or without brackets around it, or a strategy.

    Returns
    -------
    Strategy
        It carries the text that names it in records: the given text, or NAME.KNOB=VALUE of the knobs that differ from
        their defaults. A value of any other type is returned unchanged; the check of the knobs refuses it.
    """
    if isinstance(value, str):
        return with_text(parse_strategy(value.removeprefix("[").removesuffix("]"))[1], value)
    if isinstance(value, Strategy) and recorded(value) is value:
        knobs = typed(value)
        return with_text(value, f"{name_of(value)}.{knobs}" if knobs else name_of(value))
    return value


def name_of(strategy: Strategy) -> str:
    """Return the name under which a strategy's class is registered. Raises RegistryError if it is not registered."""
    kind = type(strategy)
    for name, point in found("strategies").items():
        if point.attr == kind.__qualname__ and load("strategies", name) is kind:
            return name
    raise RegistryError(f"{kind.__qualname__} of {kind.__module__} is not registered in the group horizon.strategies")


def parse_knobs(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the knobs in a text in the form of `parse_strategy`, without checking that they exist."""
    name, _, rest = text.partition(".")
    knobs: dict[str, Any] = {}
    for part in _parts(rest):
        knob, equals, value = part.partition("=")
        if not equals or not knob or not value:
            raise KnobError(f"cannot read {part!r} in {text!r}; write NAME.KNOB=VALUE[,KNOB=VALUE]")
        if knob in knobs:
            raise KnobError(f"{text!r} gives {knob} twice; leave one")
        knobs[knob] = _value(value)
    if text.endswith(".") or (not rest and "=" in name):
        raise KnobError(f"cannot read {text!r}; write NAME or NAME.KNOB=VALUE[,KNOB=VALUE]")
    return name, knobs


def backbone(name: str, *, device: str = "cpu", dtype: str | None = None, **options: Any) -> Backbone:
    """Return the backbone called `name`.

    Parameters
    ----------
    name
        A registered name.
    device
        The device on which the model is built; "meta" for shapes only.
    dtype
        The data type of the model; None for the backbone's default.
    **options
        The backbone's own options (weights, size, ...).

    Raises
    ------
    UnknownNameError
        The name is not registered.
    PresetError
        The backbone does not have one of the options.
    """
    return open_backbone(BackboneRequest(name=name, device=device, dtype=dtype, options=options))


def open_backbone(request: BackboneRequest) -> Backbone:
    """Return the requested backbone.

    Raises UnknownNameError for a name that is not registered, PresetError for an option that the backbone does not
    take, and the errors of the backbone itself.
    """
    make: Callable[..., Backbone] = load("backbones", request.name)
    takes = [key for key in inspect.signature(make).parameters if key not in ("device", "dtype")]
    for key in request.options:
        if key not in takes:
            raise PresetError(
                f"backbone {request.name} takes no {key}; it takes {', '.join(['device', 'dtype', *takes])}"
            )
    # Checked before the backbone is made, which may take minutes.
    check_compilation(request.compile, request.device)
    fp8 = request.dtype == FP8
    if request.dtype is not None and not fp8 and request.dtype not in DTYPES:
        raise DtypeError(f"unknown dtype {request.dtype!r}; allowed: {', '.join(DTYPES)}, {FP8}")
    given = {"device": request.device, "dtype": "bfloat16" if fp8 else request.dtype, **request.options}
    made = make(**{key: value for key, value in given.items() if value is not None})
    model = with_fp8(made.model) if fp8 else made.model
    return dataclasses.replace(made, model=model, compile=request.compile)


def _parts(text: str) -> list[str]:
    """Return the parts of a text between the commas that are outside brackets."""
    return re.split(r",(?![^\[]*\])", text) if text else []


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
        return tuple(value) if isinstance(value, list) else value
    except (ValueError, RecursionError):
        return None if text == "none" else text


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value
