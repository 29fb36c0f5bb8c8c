"""Strategies, suites and backbones by name: entry points, loaded when first asked for.

A third party registers with the same groups that Horizon itself uses: `horizon.strategies` (a `Strategy` subclass),
`horizon.suites` (a `Suite` subclass), `horizon.metrics` (a `PictureMetric` subclass), `horizon.backbones` (a
function of device, dtype and options of its own that returns a `Backbone`), and `horizon.trainings` (a `School`,
usually a module).
"""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from harness.backbone.presets import Backbone
from harness.backbone.request import BackboneRequest
from harness.errors import KnobError, PresetError, RegistryError, UnknownNameError
from harness.memory import Strategy
from harness.memory.knobs import check_names, recorded, typed, with_text

Group = Literal["strategies", "suites", "metrics", "backbones", "trainings"]


@cache
def found(group: Group) -> dict[str, EntryPoint]:
    """Entry points of a group by name, sorted; nothing is imported. Raises RegistryError where two share a name."""
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
    """What the entry point `name` refers to. Raises UnknownNameError with the nearest names, or RegistryError."""
    points = found(group)
    if not points:
        raise RegistryError(f"no {group} are registered: Horizon is not installed here; run pip install -e .")
    if name not in points:
        close = difflib.get_close_matches(name, points, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise UnknownNameError(f"no {group} entry is called {name!r}; {hint}There are: {', '.join(points)}")
    try:
        return points[name].load()
    except Exception as error:
        raise RegistryError(
            f"{name!r} from {_origin(points[name])} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def strategy_class(name: str) -> type[Strategy]:
    """The strategy called `name`, as a class."""
    made = load("strategies", name)
    origin = _origin(found("strategies")[name])
    if not (isinstance(made, type) and issubclass(made, Strategy)):
        raise RegistryError(f"{name!r} from {origin} is {made!r}; a strategy is a subclass of harness.memory.Strategy")
    missing = [*sorted(made.__abstractmethods__), *([] if hasattr(made, "paper") else ["paper"])]
    if missing:
        raise RegistryError(f"{name!r} from {origin} is not finished: it lacks {', '.join(missing)}")
    return made


def strategy(name: str, **knobs: Any) -> Strategy:
    """The strategy called `name` with these knobs; KnobError names the allowed ones."""
    kind = strategy_class(name)
    check_names(name, kind, knobs)
    return kind(**knobs)


def parse_strategy(text: str) -> tuple[str, Strategy]:
    """`NAME` or `NAME.KNOB=VALUE[,KNOB=VALUE...]`, as on the command line; values as in JSON, words without quotes."""
    name, knobs = parse_knobs(text)
    return name, strategy(name, **knobs)


def strategy_in_knob(value: Any) -> Any:
    """Return the strategy that a knob is given, for `__post_init__` of a strategy that is made of others.

    Parameters
    ----------
    value
        A text as of `parse_strategy`, in brackets or not, or a strategy.

    Returns
    -------
    Strategy
        With the text by which records name it: the one given, or NAME.KNOB=VALUE of what is not a default. Anything
        else is returned as it is, to be refused with the other knobs.
    """
    if isinstance(value, str):
        return with_text(parse_strategy(value.removeprefix("[").removesuffix("]"))[1], value)
    if isinstance(value, Strategy) and recorded(value) is value:
        knobs = typed(value)
        return with_text(value, f"{name_of(value)}.{knobs}" if knobs else name_of(value))
    return value


def name_of(strategy: Strategy) -> str:
    """Return the name under which a strategy's class is registered. Raises RegistryError for one that is not."""
    kind = type(strategy)
    for name, point in found("strategies").items():
        if point.attr == kind.__qualname__ and load("strategies", name) is kind:
            return name
    raise RegistryError(f"{kind.__qualname__} of {kind.__module__} is registered under no name in horizon.strategies")


def parse_knobs(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the knobs that such a text gives; whether they exist is not asked here."""
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
    """The backbone called `name`, built on a device ("meta" for shapes only), in its usual dtype or this one.

    options: what this backbone takes beside them (weights, size, ...); PresetError names one that it does not.
    """
    return open_backbone(BackboneRequest(name=name, device=device, dtype=dtype, options=options))


def open_backbone(request: BackboneRequest) -> Backbone:
    """Return the backbone that is asked for.

    Raises UnknownNameError for a name that is not registered, PresetError for an option that the backbone does not
    take, and what the backbone itself raises.
    """
    make: Callable[..., Backbone] = load("backbones", request.name)
    takes = [key for key in inspect.signature(make).parameters if key not in ("device", "dtype")]
    for key in request.options:
        if key not in takes:
            raise PresetError(
                f"backbone {request.name} takes no {key}; it takes {', '.join(['device', 'dtype', *takes])}"
            )
    given = {"device": request.device, "dtype": request.dtype, **request.options}
    return make(**{key: value for key, value in given.items() if value is not None})


def _parts(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    return re.split(r",(?![^\[]*\])", text) if text else []


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
        return tuple(value) if isinstance(value, list) else value
    except (ValueError, RecursionError):
        return None if text == "none" else text


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value
