"""Which cells an edit makes stale: those that depend on the edited module, and no others."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import re

import pytest

from harness import registry
from harness.memory import Strategy
from harness.memory.knobs import changed_fields, knobs_in_full, knobs_set
from harness.provenance import code as provenance
from harness.provenance.code import code_of
from harness.provenance.staleness import Today, stale, summary
from harness.suite import Row, Task

STRATEGIES = ("sliding_window", "memrope", "videomla", "videomla.policy=memrope", "echo_infinity")
SUITES = ("drift", "interactive", "distance", "fps")
BACKBONES = ("pocket", "self-forcing")
CELLS = list(itertools.product(STRATEGIES, SUITES, BACKBONES))


def clear():
    provenance._code.cache_clear()


@pytest.fixture
def edit(monkeypatch, tmp_path):
    """Replace the source of a module, as if its file had been edited."""
    original = provenance.source_file

    def edited(module, change):
        source = original(module)
        text = source.read_text(encoding="utf-8")
        changed = change(text)
        assert changed != text
        ast.parse(changed)
        # What is read of a file is kept by its path.
        path = tmp_path / str(len(list(tmp_path.iterdir()))) / source.name
        path.parent.mkdir()
        path.write_text(changed, encoding="utf-8")
        monkeypatch.setattr(provenance, "source_file", lambda name: path if name == module else original(name))
        clear()

    yield edited
    clear()


def codes():
    return {
        (name, suite, backbone): code_of(
            registry.parse_strategy(name)[1], registry.load("suites", suite)(), backbone
        ).record()
        for name, suite, backbone in CELLS
    }


def changed(before, after):
    return {cell for cell in CELLS if before[cell] != after[cell]}


def cells(strategies=STRATEGIES, suites=SUITES, backbones=BACKBONES):
    return set(itertools.product(strategies, suites, backbones))


EDITS = {
    "strategies.memrope": cells(("memrope", "videomla.policy=memrope")),
    "strategies.videomla.layout": cells(("videomla", "videomla.policy=memrope")),
    "strategies.echo_infinity.memory": cells(("echo_infinity",)),
    # The distance is one to full attention.
    "strategies.full": cells(suites=("distance",)),
    "suites.drift": cells(suites=("drift",)),
    "suites.interactive": cells(suites=("interactive",)),
    "suites.fps": cells(suites=("fps",)),
    # The registered picture metrics.
    "suites.observers.picture_metrics": cells(suites=("drift", "interactive")),
    "harness.memory.terms": cells(),
    "harness.rollout.loop": cells(),
    "harness.rollout.noise": cells(),
    "harness.backbone.block": cells(),
    "harness.engines.isolated": cells(suites=("fps",)),
    "harness.pocket.world": cells(backbones=("pocket",)),
    "harness.backbone.published.vae": cells(backbones=("self-forcing",)),
    "harness.cli.runs.campaign": set(),
    "harness.store.store": set(),
    "harness.errors": set(),
    "suites.viewers.perceptual.similarity": set(),
}


@pytest.mark.parametrize("module", EDITS)
def test_a_line_of_code_makes_exactly_the_cells_stale_that_depend_on_it(edit, module):
    before = codes()
    edit(module, lambda text: text + "\n_edited = 1\n")
    assert changed(before, codes()) == EDITS[module]


def docstring(text):
    return re.sub(r'"""[A-Z]', '"""Indeed: X', text)


@pytest.mark.parametrize("module", [module for module, found in EDITS.items() if found])
@pytest.mark.parametrize(
    "prose",
    [
        docstring,
        lambda text: re.sub(r"^( *)(return .*)$", r"\1# A comment.\n\1\2", text, flags=re.MULTILINE),
        lambda text: text.replace("\n\n\n", "\n\n\n\n\n"),
        lambda text: text + '\n"""A string that nothing reads."""\n',
    ],
    ids=["docstrings", "comments", "empty lines", "a string"],
)
def test_prose_makes_no_cell_stale(edit, module, prose):
    before = codes()
    if prose(provenance.source_file(module).read_text(encoding="utf-8")) == provenance.source_file(module).read_text(
        encoding="utf-8"
    ):
        pytest.fail(f"the edit does nothing to {module}; choose another one")
    edit(module, prose)
    assert changed(before, codes()) == set()


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("def f(x): return x", "def f(x: int) -> int: return x", True),
        ("raise ValueError('no')", "raise ValueError('never') from None", True),
        ("raise ValueError('no')", "raise TypeError('no')", False),
        ("def f(x=1): return x", "def f(x=2): return x", False),
        ("x = 1", "x = 1.0", False),
        ("x = 'a'", "x = 'b'", False),
        ("class A:\n    x: int = 1", "class A:\n    x: int = 2", False),
        ("class A:\n    x = 1\n    'about x'", "class A:\n    x = 1", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a", "from typing import TYPE_CHECKING\n"
         "if TYPE_CHECKING:\n    import b", True),
        ("x = a + b", "x = a - b", False),
        ("x = not a", "x = a", False),
        # How a suite is shown decides no number.
        ("class A:\n    def display(self): return 1", "class A:\n    def display(self): return 2", True),
        ("def display(self): return 1", "def display(self): return 2", False),
    ],
)  # fmt: skip
def test_what_a_digest_sees(tmp_path, before, after, same):
    digests = []
    for number, text in enumerate((before, after)):
        path = tmp_path / f"{number}.py"
        path.write_text(text, encoding="utf-8")
        digests.append(provenance.read_module(path, "m", frozenset())[0])
    assert (digests[0] == digests[1]) == same


def test_relative_and_nested_imports_are_followed(tmp_path, monkeypatch):
    package = tmp_path / "acme_memory"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "main.py").write_text(
        "from . import near\ndef f():\n    import acme_helper\n    from .deep.er import x\n", encoding="utf-8"
    )
    (package / "near.py").write_text("", encoding="utf-8")
    (package / "deep").mkdir()
    (package / "deep" / "__init__.py").write_text("", encoding="utf-8")
    (package / "deep" / "er.py").write_text("import numpy, torch.nn, os.path\nx = 1\n", encoding="utf-8")
    (tmp_path / "acme_helper.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    clear()
    provenance.source_file.cache_clear()
    provenance._is_loose.cache_clear()
    assert set(provenance._code(("acme_memory.main",), ()).modules) == {
        "acme_memory", "acme_memory.main", "acme_memory.near", "acme_memory.deep", "acme_memory.deep.er", "acme_helper",
    }  # fmt: skip


NEW_KNOB = '''
    sink: Annotated[int, Ge(0)] = 3
    brand_new: Annotated[int, Ge(0)] = 7
    """Not read by anything yet."""
'''


def test_a_new_knob_with_a_default_makes_no_cell_stale(edit):
    before = codes()
    edit("strategies.memrope", lambda text: text.replace("\n    sink: Annotated[int, Ge(0)] = 3\n", NEW_KNOB))
    assert changed(before, codes()) == set()
    edit("strategies.memrope", lambda text: text.replace("range(spec.layers)", "range(spec.layers + 0)"))
    assert changed(before, codes()) == EDITS["strategies.memrope"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Old(Strategy):
    paper = ""
    window: int = 12
    alpha: float = 0.5

    def open(self, spec):
        raise NotImplementedError

    def footprint(self, spec, frames):
        return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class New(Old):
    depth: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Other(Old):
    window: int = 9


def test_ids_name_what_was_asked_and_not_what_is_usual():
    assert knobs_set(Old(alpha=0.1)) == knobs_set(New(alpha=0.1)) == {"alpha": 0.1}
    assert knobs_set(Old(window=12)) == {}
    task = Task("a", 30, 0, (Row(1, ((0, "x"),)),))

    @dataclasses.dataclass(frozen=True)
    class Longer(Task):
        new: int = 3

    longer = Longer("a", 30, 0, (Row(1, ((0, "x"),)),))
    assert changed_fields(task) == changed_fields(longer)
    assert changed_fields(task)["rows"] == [{"seed": 1, "script": [[0, "x"]]}]
    assert "forced" not in changed_fields(task)
    nested = registry.parse_strategy("videomla.policy=memrope.window=12")[1]
    assert knobs_set(nested) == knobs_set(registry.parse_strategy("videomla.policy=memrope")[1])
    assert knobs_set(nested) == {"policy": {"MemRoPE": {}}}
    assert knobs_in_full(nested)["policy.alpha_long"] == 0.01


def about(strategy, **more):
    code = code_of(registry.strategy("memrope"), registry.load("suites", "drift")(), "pocket")
    return {
        "status": "ok", "strategy": "old", "knobs_set": {}, "knobs_in_full": knobs_in_full(strategy),
        "code": code.record(), "suite": "drift", "backbone": "pocket", **more,
    }, code  # fmt: skip


def test_a_changed_default_is_found_by_its_value_and_a_new_knob_is_not():
    made, code = about(Old())
    assert stale(made, {}, New(), code) == []
    assert stale(made, {}, Other(), code) == ["the default of old.window was 12 and is 9"]


def test_the_reason_names_the_modules(edit):
    made, code = about(Old())
    edit("strategies.memrope", lambda text: text + "\nx = 1\n")
    now = code_of(registry.strategy("memrope"), registry.load("suites", "drift")(), "pocket")
    assert stale(made, code.tables(), Old(), now) == ["strategies/memrope changed"]
    assert stale(made, {}, Old(), now) == ["its code changed"]
    assert summary(["a", "b", "a", "c", "d"]) == "a, b, c, 1 more"


def test_metrics_that_come_and_go_make_no_cell_stale(monkeypatch):
    suite = registry.load("suites", "drift")
    made, code = about(Old())
    found = registry.found

    def with_another(group):
        points = found(group)
        return {**points, "colour_too": points["colour_distance"]} if group == "metrics" else points

    monkeypatch.setattr(registry, "found", with_another)
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda group, name: load(group, name.replace("colour_too", "ssim")))
    now = code_of(registry.strategy("memrope"), suite(), "pocket")
    assert set(now.metrics) - set(code.metrics) == {"colour_too"}
    assert stale(made, code.tables(), Old(), now) == []
    monkeypatch.setattr(registry, "found", lambda group: {} if group == "metrics" else found(group))
    assert stale(made, code.tables(), Old(), code_of(registry.strategy("memrope"), suite(), "pocket")) == []


def test_a_cell_whose_strategy_is_gone_says_so():
    made, code = about(Old())
    (reason,) = Today(code.tables()).stale(made)
    assert reason.startswith("cannot be compared with today's code: no strategies entry is called 'old'")
    assert Today(code.tables()).stale({**made, "status": "failed"}) == []
