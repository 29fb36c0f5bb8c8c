"""Names become strategies and backbones, and every way to get one wrong has a clear word."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness import registry
from harness.backbone.request import BackboneRequest
from harness.errors import DtypeError, HorizonError, KnobError, PresetError, RegistryError, UnknownNameError
from harness.memory.knobs import spelled
from harness.training.recipe import Request
from strategies.attention_sink import AttentionSink
from strategies.echo_forcing import EchoForcing
from strategies.full import Full
from strategies.memrope import MemRoPE

SHIPPED = ["attention_sink", "full", "infinity_rope", "memrope", "sliding_window"]
Register = Callable[..., None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    """Replaces what is installed by these (name, value) strategies."""

    def put(*points: tuple[str, str]) -> None:
        registry.found.cache_clear()
        made = [EntryPoint(name, value, "horizon.strategies") for name, value in points]
        monkeypatch.setattr(registry, "entry_points", lambda group: [point for point in made if point.group == group])

    yield put
    registry.found.cache_clear()


def test_shipped_names() -> None:
    assert set(SHIPPED) <= set(registry.found("strategies"))
    assert "wan-1.3b" in registry.found("backbones")


def test_found_is_sorted_and_imports_nothing(register: Register) -> None:
    register(("b", "no_such_module:B"), ("a", "no_such_module:A"))
    assert list(registry.found("strategies")) == ["a", "b"]
    assert "no_such_module" not in sys.modules


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("memrop", "'memrope'"), ("atention-sink", "'attention_sink'"), ("sliding-window", "'sliding_window'")],
)
def test_unknown_name_gets_the_nearest_and_all_of_them(register: Register, name: str, nearest: str) -> None:
    register(*((shipped, f"strategies.{shipped}:X") for shipped in SHIPPED))
    with pytest.raises(UnknownNameError) as error:
        registry.load("strategies", name)
    assert str(error.value) == (
        f"no strategies entry is called {name!r}; did you mean {nearest}? There are: {', '.join(SHIPPED)}"
    )


@pytest.mark.parametrize("name", ["", "zzzzzz", "0"])
def test_unknown_name_that_is_near_nothing(name: str) -> None:
    with pytest.raises(
        UnknownNameError, match="There are: attention_sink, deep_forcing, dummy_forcing, echo_forcing, "
    ) as error:
        registry.strategy(name)
    assert "did you mean" not in str(error.value)
    assert isinstance(error.value, LookupError)


def test_nothing_registered_says_what_to_do(register: Register) -> None:
    register()
    with pytest.raises(RegistryError, match=r"no strategies are registered: .* run pip install -e \."):
        registry.load("strategies", "full")


def test_collision_names_both_origins(register: Register) -> None:
    register(("full", "strategies.full:Full"), ("full", "theirs.full:Full"))
    with pytest.raises(RegistryError, match=r"'full': strategies\.full:Full and theirs\.full:Full; uninstall one"):
        registry.load("strategies", "full")


def test_the_same_entry_seen_twice_is_no_collision(register: Register) -> None:
    """An editable install and an .egg-info in the working directory both list it."""
    register(("full", "strategies.full:Full"), ("full", "strategies.full:Full"))
    assert registry.load("strategies", "full") is Full


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_module:X", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("strategies.full:Ful", "AttributeError: module 'strategies.full' has no attribute 'Ful'"),
    ],
)
def test_entry_that_cannot_be_imported(register: Register, value: str, reason: str) -> None:
    register(("mine", value))
    with pytest.raises(RegistryError) as error:
        registry.strategy_class("mine")
    assert str(error.value) == f"'mine' from {value} cannot be loaded: {reason}"
    assert isinstance(error.value, ImportError)
    assert error.value.__cause__ is not None


def test_module_that_raises_anything(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(sys.modules, "broken", Broken("broken"))
    register(("mine", "broken:X"))
    with pytest.raises(RegistryError, match="cannot be loaded: ZeroDivisionError: division by zero"):
        registry.strategy_class("mine")


@pytest.mark.parametrize("value", ["harness.memory.frames:check_window", "harness.memory:Memory", "strategies.full"])
def test_entry_that_is_no_strategy(register: Register, value: str) -> None:
    register(("mine", value))
    with pytest.raises(RegistryError, match=f"'mine' from {value} is .*; a strategy is a subclass of harness.memory"):
        registry.strategy("mine")


@pytest.mark.parametrize("missing", ["footprint", "open"])
def test_strategy_that_is_not_finished(register: Register, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Python refuses an abstract class with a TypeError, which is not a word for a user of the command line."""
    unfinished = type("Unfinished", (Full,), {missing: getattr(registry.Strategy, missing)})
    monkeypatch.setattr(sys.modules[Full.__module__], "Unfinished", unfinished, raising=False)
    register(("mine", "strategies.full:Unfinished"))
    with pytest.raises(HorizonError, match=missing):
        registry.strategy("mine")


def test_knob_without_a_default(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Required(Full):
        rooms: int

    monkeypatch.setattr(sys.modules[Full.__module__], "Required", Required, raising=False)
    register(("mine", "strategies.full:Required"))
    assert registry.strategy("mine", rooms=3).knobs() == {"rooms": 3}
    with pytest.raises(KnobError, match="rooms"):
        registry.strategy("mine")


def test_strategy_takes_its_knobs() -> None:
    assert registry.strategy("memrope", window=9, alpha_long=None) == MemRoPE(window=9, alpha_long=None)


def test_backbone_is_built_as_asked() -> None:
    usual = registry.backbone("wan-1.3b", device="meta")
    assert (usual.model.dtype, usual.model.device.type) == (torch.bfloat16, "meta")
    assert registry.backbone("wan-1.3b", device="meta", dtype="float32").model.dtype == torch.float32
    with pytest.raises(UnknownNameError, match="no backbones entry is called 'wan'"):
        registry.backbone("wan")
    with pytest.raises(DtypeError, match="unknown dtype 'int8'; allowed: float32, bfloat16"):
        registry.backbone("wan-1.3b", device="meta", dtype="int8")


def test_a_backbone_says_what_opens_it_again() -> None:
    made = registry.backbone("wan-1.3b", device="meta", dtype="float32", chunk=1)
    asked = BackboneRequest(name="wan-1.3b", device="meta", dtype="float32", options={"chunk": 1})
    assert made.request() == asked
    assert registry.open_backbone(asked).request() == asked
    assert registry.backbone("wan-1.3b", device="meta").request().options == {}
    assert Request("videomla", Path("runs")).backbone_request() == BackboneRequest(name="pocket", dtype="float32")
    with pytest.raises(PresetError, match="backbone pocket takes no chunk; it takes device, dtype"):
        registry.open_backbone(BackboneRequest(name="pocket", options={"chunk": 1}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("full", Full()),
        ("attention_sink.window=9", AttentionSink(window=9)),
        ("attention_sink.window=9,sink=1,positions=absolute", AttentionSink(window=9, sink=1, positions="absolute")),
        ('attention_sink.positions="absolute"', AttentionSink(positions="absolute")),
        ("memrope.alpha_long=none", MemRoPE(alpha_long=None)),
        ("memrope.alpha_long=null,alpha_short=1e-3", MemRoPE(alpha_long=None, alpha_short=0.001)),
        ("echo_forcing.recall_decay=[0.5, 1],recalls=[2]", EchoForcing(recall_decay=(0.5, 1.0), recalls=(2,))),
    ],
)
def test_text_becomes_a_strategy(text: str, expected: object) -> None:
    name, made = registry.parse_strategy(text)
    assert (name, made, repr(made)) == (text.split(".", maxsplit=1)[0], expected, repr(expected))


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("memrope.", "'memrope.'"),
        ("memrope=9", "'memrope=9'"),
        ("memrope.window", "'window'"),
        ("memrope.window=", "'window='"),
        ("memrope.=9", "'=9'"),
        ("memrope.window=9,sink", "'sink'"),
        ("memrope.window=9 sink=1 alpha", "window"),
        ("memrope.window 9", "'window 9'"),
    ],
)
def test_text_that_cannot_be_read(text: str, culprit: str) -> None:
    with pytest.raises(KnobError) as error:
        registry.parse_strategy(text)
    assert culprit in str(error.value)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("memrope.windw=9", "did you mean 'window'"),
        ("memrope.window=9.0", "int >= 1"),
        ("memrope.window=true", "int >= 1"),
        ("memrope.window=nine", "int >= 1"),
        ("memrope.window=none", "int >= 1"),
        ("memrope.window=-9", "int >= 1"),
        ("memrope.alpha_long=NaN", "float > 0, <= 1 | none"),
        ("memrope.alpha_long=0", "float > 0, <= 1 | none"),
        ("memrope.alpha_long=-Infinity", "float > 0, <= 1 | none"),
        ("memrope.pooling=Chunk", "chunk | position | adaptive"),
        ("memrope.pooling=none", "chunk | position | adaptive"),
    ],
)
def test_text_with_a_wrong_knob(text: str, allowed: str) -> None:
    with pytest.raises(KnobError) as error:
        registry.parse_strategy(text)
    assert allowed in str(error.value)


def test_text_that_says_something_twice() -> None:
    """Which of the two was meant, nobody knows."""
    with pytest.raises(KnobError, match="window"):
        registry.parse_strategy("memrope.window=9,window=12")


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000])
def test_text_that_json_gives_up_on(value: str) -> None:
    with pytest.raises(KnobError, match="window"):
        registry.parse_strategy(f"memrope.window={value}")


SINKS = st.builds(
    AttentionSink,
    window=st.integers(1, 10**9),
    sink=st.integers(0, 10**9),
    positions=st.sampled_from(["absolute", "relative"]),
    on_switch=st.sampled_from(["keep", "flush", "recache", "recache_all"]),
)
ALPHAS = st.floats(0, 1, exclude_min=True)
AVERAGES = st.builds(
    MemRoPE,
    window=st.integers(1),
    alpha_long=st.none() | ALPHAS,
    alpha_short=ALPHAS,
    init=st.sampled_from(["released", "paper"]),
)
SCENES = st.builds(
    EchoForcing,
    hierarchy=st.booleans(),
    max_reuse=st.none() | st.integers(1, 255),
    smooth_decay=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted).map(tuple),
    recalls=st.lists(st.integers(1, 99), max_size=3).map(tuple),
)


@given(st.one_of(SINKS, AVERAGES, SCENES))
def test_what_is_written_is_what_is_read(made: AttentionSink | MemRoPE | EchoForcing) -> None:
    names = {MemRoPE: "memrope", AttentionSink: "attention_sink", EchoForcing: "echo_forcing"}
    name = names[type(made)]
    knobs = ",".join(f"{knob}={spelled(value)}" for knob, value in made.knobs().items())
    assert registry.parse_strategy(f"{name}.{knobs}") == (name, made)


@given(st.text() | st.builds("memrope.{}={}".format, st.sampled_from(list(MemRoPE().knobs())), st.text()))
def test_any_text_is_a_strategy_or_a_clear_word(text: str) -> None:
    with contextlib.suppress(HorizonError):
        _, made = registry.parse_strategy(text)
        assert isinstance(made, registry.Strategy)
