"""Knobs of a strategy: which exist, what they may be, and a clear word when they are something else."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from harness.errors import KnobError, did_you_mean, shown

Kind = TypeVar("Kind")

_TEXT = "_text_of_record"
BOUNDS = {Ge: ">= {0.ge}", Gt: "> {0.gt}", Le: "<= {0.le}", Lt: "< {0.lt}"}


@cache
def _hints(owner: type) -> dict[str, Any]:
    """Annotations of the dataclass fields of `owner`, in order."""
    try:
        hints = get_type_hints(owner, include_extras=True)
    except NameError as error:
        raise KnobError(
            f"{owner.__name__}: an annotation cannot be resolved ({error}); import it at run time"
        ) from None
    return {field.name: hints[field.name] for field in dataclasses.fields(owner)}


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def allowed(hint: Any) -> str:
    """An annotation in words: "int >= 1", "absolute | relative", "float > 0, <= 1 | none", "[2 of float >= 0]"."""
    if get_origin(hint) is Annotated:
        kind, *marks = get_args(hint)
        bounds = [BOUNDS[type(mark)].format(mark) for mark in marks if type(mark) in BOUNDS]
        return f"{allowed(kind)} {', '.join(bounds)}".strip()
    if get_origin(hint) is Literal:
        return " | ".join(str(value) for value in get_args(hint))
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        kinds = " and ".join(dict.fromkeys(allowed(part) for part in parts if part is not ...))
        return f"[{kinds}, ...]" if ... in parts else f"[{len(parts)} of {kinds}]"
    if get_origin(hint) is Union or isinstance(hint, type(int | None)):
        return " | ".join(allowed(part) for part in get_args(hint))
    return "none" if hint is type(None) else getattr(hint, "__name__", str(hint))


def with_text(strategy: Kind, text: str) -> Kind:
    """Return a copy of a strategy with the text that stands for it in the records of a strategy of which it is a knob.

    Records hold what was typed, so that cells and states keep their names where the same can be typed in other ways.
    The text is no knob of its own: it does not enter comparisons, and `dataclasses.replace` drops it.
    """
    copied = copy.copy(strategy)
    object.__setattr__(copied, _TEXT, text)
    return copied


def recorded(value: Any) -> Any:
    """Return a knob's value as records hold it: of a strategy its text (`with_text`), anything else as it is."""
    return getattr(value, _TEXT, value)


def spelled(value: Any) -> str:
    """A knob's value as it is typed: none, true, 0.1, paper, [0.8,0.95]."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(spelled, value))}]"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def typed(strategy: Any) -> str:
    """The knobs of a strategy that differ from their defaults, as they are typed: "window=9,sink=1"."""
    changed = changed_fields(strategy)
    return ",".join(f"{knob}={spelled(value)}" for knob, value in strategy.knobs().items() if knob in changed)


def describe_knobs(owner: type) -> dict[str, dict[str, Any]]:
    """Each knob's default and allowed values, by name; no default where the knob must be given."""
    hints = _hints(owner)
    described = {}
    for field in dataclasses.fields(owner):
        about: dict[str, Any] = {}
        if field.default is not dataclasses.MISSING:
            about["default"] = recorded(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            about["default"] = recorded(field.default_factory())
        described[field.name] = about | {"allowed": allowed(hints[field.name])}
    return described


def changed_fields(record: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults, those of dataclasses in it alike: what identifies it.

    A new field with a default changes nothing here.
    """
    found = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if recorded(value) != recorded(default):
            found[field.name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    value = recorded(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return changed_fields(value)
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def knobs_set(strategy: Any) -> dict[str, Any]:
    """The knobs of a strategy that differ from their defaults, by name; of a strategy in a knob, its own in turn."""
    parts = strategy.parts()
    return {
        name: {type(parts[name]).__qualname__: knobs_set(parts[name])} if name in parts else value
        for name, value in changed_fields(strategy).items()
    }


def knobs_in_full(strategy: Any) -> dict[str, Any]:
    """All knobs of a strategy by name, with those of the strategies that it is made of behind the knob's name."""
    parts = {
        f"{knob}.{name}": value
        for knob, part in strategy.parts().items()
        for name, value in knobs_in_full(part).items()
    }
    return {**{name: _plain(value) for name, value in strategy.knobs().items()}, **parts}


def check_names(title: str, owner: type, given: Mapping[str, Any]) -> None:
    """Raise KnobError for a knob that `owner` does not have, or that it needs, naming those that it has."""
    known = _hints(owner)
    for name, about in describe_knobs(owner).items():
        if "default" not in about and name not in given:
            raise KnobError(f"{title} needs its knob {name!r}: {about['allowed']}")
    for name in given:
        if name not in known:
            if not known:
                raise KnobError(f"{title} has no knob {name!r}: it has no knobs at all")
            knobs = "; ".join(f"{knob}: {allowed(kind)}" for knob, kind in known.items())
            raise KnobError(f"{title} has no knob {name!r}{did_you_mean(name, known)}; its knobs are {knobs}")


def check_knobs(strategy: Any) -> None:
    """Raise KnobError for a knob whose value its annotation does not allow.

    What is allowed in another form (1 for a float) is replaced by the form declared, so that equal knobs look equal.
    """
    kind: type = type(strategy)
    for name, hint in _hints(kind).items():
        value = getattr(strategy, name)
        try:
            object.__setattr__(strategy, name, _adapter(hint).validate_python(value, strict=True))
        except PydanticSchemaGenerationError:
            raise KnobError(
                f"{kind.__name__}: knob {name} is declared as {allowed(hint)}, which cannot be checked; declare "
                "numbers, strings, literals, tuples of them, or dataclasses"
            ) from None
        except ValidationError:
            raise KnobError(
                f"{kind.__name__}: knob {name} = {shown(value)} is not allowed; allowed: {allowed(hint)}"
            ) from None
