"""A wrong knob is refused when the strategy is made, with the allowed values in the message."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Ge, Gt, Le, Lt

from harness.backbone.layout import DenseLayout
from harness.errors import HorizonError, KnobError, UnknownNameError
from harness.memory import MemorySpec, Strategy
from harness.memory.knobs import allowed, check_knobs, check_names, describe_knobs
from harness.registry import found, strategy, strategy_class


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """One knob of each kind that a strategy uses."""

    count: Annotated[int, Ge(1)] = 1
    below: Annotated[int, Lt(10)] = 1
    rate: Annotated[float, Gt(0), Le(1)] = 0.5
    rest: Annotated[int, Ge(0)] | None = None
    mode: Literal["absolute", "relative"] = "relative"
    on: bool = False
    word: str = "a"

    def __post_init__(self) -> None:
        check_knobs(self)


@pytest.mark.parametrize(
    ("knob", "values", "words"),
    [
        ("count", (0, -1, True, 1.0, math.nan, math.inf, "1", None, [1], 1 + 0j, np.float64(1)), "int >= 1"),
        ("below", (10, 11, False, -0.5), "int < 10"),
        ("rate", (0, 0.0, -0.1, 1.5, True, math.nan, math.inf, -math.inf, "0.5", None), "float > 0, <= 1"),
        ("rest", (-1, 0.0, math.nan, "none", False), "int >= 0 | none"),
        ("mode", ("Relative", "", "rel", 0, None, ["relative"]), "absolute | relative"),
        ("on", (0, 1, "true", None), "bool"),
        ("word", (1, None, b"a", True), "str"),
    ],
)
def test_wrong_value_names_the_knob_the_value_and_the_allowed(
    knob: str, values: tuple[object, ...], words: str
) -> None:
    for value in values:
        with pytest.raises(KnobError) as error:
            Knobs(**{knob: value})  # type: ignore[arg-type]
        assert str(error.value) == f"Knobs: knob {knob} = {value!r} is not allowed; allowed: {words}"


@pytest.mark.parametrize(
    ("knob", "values"),
    [
        ("count", (1, 10**6)),
        ("below", (9, -5)),
        ("rate", (1, 1.0, 0.5, 5e-324)),
        ("rest", (None, 0, 7)),
        ("mode", ("absolute", "relative")),
        ("on", (True, False)),
        ("word", ("", "none", "a b")),
    ],
)
def test_allowed_value_is_taken_as_it_is(knob: str, values: tuple[object, ...]) -> None:
    for value in values:
        assert getattr(Knobs(**{knob: value}), knob) == value  # type: ignore[arg-type]


def test_description_is_complete() -> None:
    assert describe_knobs(Knobs) == {
        "count": {"default": 1, "allowed": "int >= 1"},
        "below": {"default": 1, "allowed": "int < 10"},
        "rate": {"default": 0.5, "allowed": "float > 0, <= 1"},
        "rest": {"default": None, "allowed": "int >= 0 | none"},
        "mode": {"default": "relative", "allowed": "absolute | relative"},
        "on": {"default": False, "allowed": "bool"},
        "word": {"default": "a", "allowed": "str"},
    }


def test_words_for_rarer_annotations() -> None:
    assert allowed(Literal["a", 1, None]) == "a | 1 | None"
    assert allowed(Annotated[int, Ge(1)] | Literal["all"] | None) == "int >= 1 | all | none"
    assert allowed(Annotated[Annotated[int, Ge(1)], Le(9)]) == "int >= 1, <= 9"
    assert allowed(tuple[Annotated[float, Ge(0)], Annotated[float, Ge(0)]]) == "[2 of float >= 0]"
    assert allowed(tuple[int, ...]) == "[int, ...]"


def test_unknown_name_gets_the_nearest_and_all_of_them() -> None:
    check_names("title", Knobs, {"count": None, "rest": "checked elsewhere"})
    with pytest.raises(KnobError) as error:
        check_names("title", Knobs, {"count": 1, "coutn": 1})
    assert str(error.value).startswith("title has no knob 'coutn' (did you mean 'count'?); its knobs are count: int")
    assert all(f"{field.name}: " in str(error.value) for field in dataclasses.fields(Knobs))
    with pytest.raises(KnobError, match="title has no knob 'zzz'; its knobs are") as error:
        check_names("title", Knobs, {"zzz": 1})
    assert "did you mean" not in str(error.value)


def test_unknown_name_where_there_are_no_knobs() -> None:
    with pytest.raises(KnobError, match=r"^full has no knob 'window': it has no knobs at all$"):
        strategy("full", window=9)


def spec(chunk: int = 3) -> MemorySpec:
    return MemorySpec(2, DenseLayout(2, 12), 4, chunk)


@pytest.mark.parametrize("name", sorted(found("strategies")))
def test_every_shipped_knob_refuses_another_type(name: str) -> None:
    kind = strategy_class(name)
    for knob, about in describe_knobs(kind).items():
        for value in (1 if about["allowed"] == "bool" else True, math.nan, "no such word", -1, object()):
            if value == "no such word" and knob == "policy":
                with pytest.raises(UnknownNameError, match="no strategies entry is called 'no such word'"):
                    strategy(name, policy=value)
                continue
            with pytest.raises(KnobError, match=f"knob {knob} = .* is not allowed; allowed: "):
                strategy(name, **{knob: value})


@pytest.mark.parametrize("name", sorted(found("strategies")))
def test_repr_is_a_complete_record(name: str) -> None:
    kind = strategy_class(name)
    made = kind()
    assert eval(repr(made), {kind.__name__: kind}) == made
    assert made.knobs() == {knob: about["default"] for knob, about in describe_knobs(kind).items()}
    for knob in made.knobs():
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, knob, 1)


def test_equal_knobs_are_the_same_record() -> None:
    """A saved state and a cell are found again by the repr."""
    assert repr(strategy("memrope", alpha_long=1)) == repr(strategy("memrope", alpha_long=1.0))


@pytest.mark.parametrize(
    ("name", "knobs", "message"),
    [
        ("sliding_window", {"window": 2}, "window 2 is smaller than sink 0 + chunk 3 = 3 latent frames"),
        ("attention_sink", {"window": 5}, "window 5 is smaller than sink 3 + chunk 3 = 6 latent frames"),
        ("infinity_rope", {"window": 3}, "window 3 is smaller than sink 1 + chunk 3 = 4 latent frames"),
        ("memrope", {"window": 7}, "window 7 is smaller than sink 3 + memory 2 + chunk 3 = 8 latent frames"),
        ("memrope", {"window": 6, "alpha_long": None}, "sink 3 + memory 1 + chunk 3 = 7 latent frames"),
    ],
)
def test_window_too_small_names_the_smallest_and_that_one_works(name: str, knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(KnobError) as error:
        strategy(name, **knobs).open(spec())
    smallest = knobs["window"] + 1
    assert f"{name}: " in str(error.value)
    assert message in str(error.value)
    assert f"raise window to at least {smallest} or lower sink" in str(error.value)
    assert strategy(name, **knobs | {"window": smallest}).open(spec()).capacity == smallest - 3


def test_pin_too_early_names_the_earliest_and_that_one_works() -> None:
    with pytest.raises(KnobError, match=r"pinned_at 2 leaves no room for sink 1 and 3 frames below it.* at least 3$"):
        strategy("infinity_rope", pinned_at=2).open(spec())
    assert strategy("infinity_rope", pinned_at=3).open(spec()).capacity == 3
    assert strategy("infinity_rope", pinned_at=2).open(spec(chunk=1)).capacity == 5
    with pytest.raises(KnobError, match=r"attention_sink: pinned_at 4 leaves no room for sink 3 and 3 .* at least 5$"):
        strategy("attention_sink", pinned_at=4).open(spec())
    assert strategy("attention_sink", pinned_at=5).open(spec()).capacity == 9
    for on_switch in ("recache", "recache_all"):
        with pytest.raises(KnobError, match=r"pinned_at 10 leaves no room for sink 3 and 9 frames .* at least 11$"):
            strategy("attention_sink", pinned_at=10, on_switch=on_switch).open(spec())
        assert strategy("attention_sink", pinned_at=11, on_switch=on_switch).open(spec()).lookback == 12


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"alpha_long": None, "alpha_short": None}, "alpha_long and alpha_short are both none"),
        ({"pooling": "adaptive", "alpha_short": 0.21}, "must be <= 0.2, not 0.21"),
    ],
)
def test_memrope_refuses_knobs_that_contradict_each_other(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(KnobError, match=message):
        strategy("memrope", **knobs)


@pytest.mark.parametrize("alpha", [0.2, None])
def test_memrope_adapts_up_to_a_fifth(alpha: float | None) -> None:
    assert strategy("memrope", pooling="adaptive", alpha_short=alpha).knobs()["alpha_short"] == alpha


def test_knob_error_is_what_python_expects() -> None:
    assert issubclass(KnobError, HorizonError)
    assert issubclass(KnobError, ValueError)


def test_annotation_that_cannot_be_checked_is_a_knob_error() -> None:
    """A third party's knob may be of a type that only it knows; the user must hear which."""

    @dataclass(frozen=True, kw_only=True)
    class Odd(Strategy):
        layout: DenseLayout = dataclasses.field(default_factory=lambda: DenseLayout(1, 1))
        paper = ""

        def open(self, spec: MemorySpec) -> Any:
            raise NotImplementedError

        def footprint(self, spec: MemorySpec, frames: int) -> int:
            raise NotImplementedError

    with pytest.raises(KnobError, match="layout"):
        Odd()
