"""One hostile text in every field of what is reported, and every output read by the parser of its medium."""

import html.parser
import json
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from matplotlib import mathtext
from matplotlib.figure import Figure

from harness import cli, registry
from harness.cli.console.ticker import Ticker
from harness.files import load_toml
from harness.plan.device import DEVICES
from harness.plan.planning import plan
from harness.suite import Margin, Metric
from reports.gate.evidence import save as keep
from reports.gate.history import draw, load, steps
from reports.gate.page import sheet, write
from reports.gate.policy import read_policy, written
from reports.gate.verdicts import judge
from reports.plots.plan import picture
from reports.plots.strips import filmstrip, save, training_curve
from reports.tables import Trouble
from suites.drift import Drift
from tests.hostile import MARKS, NAME, TEXTS, is_plain_page, is_plain_table, shape, steering
from tests.reports.folders import campaign
from tests.reports.made import MANIFEST, evidence, whole


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command in this process, on a terminal of 100 columns; returns exit code and both streams."""
    monkeypatch.setattr("harness.cli.console.terminal.console._width", 100)

    def called(*argv):
        monkeypatch.setattr(sys, "argv", ["horizon", *map(str, argv)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert not steering(out + err)
        return end.value.code, out, err

    return called


@pytest.fixture
def plugin(monkeypatch):
    """Registers suites and strategies by names that no package should have."""
    known = registry.entry_points
    points = []

    def put(group, name, thing):
        module = ModuleType(f"plugin_{len(points)}", name)
        module.Thing = thing
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(thing, "__module__", module.__name__)
        points.append(EntryPoint(name, f"{module.__name__}:Thing", f"horizon.{group}"))
        registry.found.cache_clear()

    monkeypatch.setattr(
        registry, "entry_points", lambda group: [*known(group=group), *(x for x in points if x.group == group)]
    )
    yield put
    registry.found.cache_clear()


def suite_called(name):
    class Mine(Drift):
        version = "1"

        @property
        def further(self):
            return {**super().further, name: Metric(name, "higher", name, margin=Margin(relative=0.1))}

    Mine.name, Mine.__doc__ = name, name
    return Mine


def told(folder, text):
    """A campaign in which every field that may be any text is this one."""
    metrics = {"psnr": 30.0, text: 1.0}
    rollouts = {
        label: [(f"{text} {number}", number, 120, {**metrics, "psnr": 30.0 + number}) for number in range(3)]
        for label in ("sliding_window", "memrope.window=9", "memrope")
    }
    made = campaign(
        folder, rollouts, suite=text, cells={"arm": text, "skipped_metrics": {text: text}},
        tables={label: ["as published", text] for label in rollouts},
    )  # fmt: skip
    path = made / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["name"] = manifest["asked"]["tier"] = text
    manifest["plan"] = {cell: [text, text, text, 120, 1] for cell in manifest["asked"]["cells"]}
    for number, arm in enumerate(manifest["asked"]["arms"]):
        arm["label"] = f"{text}{number}"
        arm["budget_note"] = text
    for each in manifest["environments"].values():
        each |= {"cpu": text, "gpu": text, "attention": text, "packages": {text: text}, "code": {"commit": text}}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    for cell in sorted((made / "cells").iterdir())[:1]:
        about = json.loads((cell / "cell.json").read_text(encoding="utf-8"))
        (cell / "cell.json").write_text(json.dumps({**about, "status": "failed", "reason": text}), encoding="utf-8")
    return made


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.words, self.code = [], [], False

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, [name for name, _ in attrs]))
        # The page's own script is the same in every report; its data is not.
        self.code = tag == "script" and not attrs

    def handle_data(self, data):
        if not self.code:
            self.words.append(data)


def strings(data):
    """Every text in data of JSON."""
    if isinstance(data, dict):
        return [*data, *(text for each in data.values() for text in strings(each))]
    return (
        [text for each in data for text in strings(each)] if isinstance(data, list) else [data] * isinstance(data, str)
    )


def page(path):
    read = Page()
    read.feed(path.read_text(encoding="utf-8"))
    return read


def test_a_report_is_the_same_page_whatever_things_are_called(tmp_path, plugin, run):
    for text in ("words", NAME):
        plugin("suites", text, suite_called(text))
    tame, made = told(tmp_path / "words", "words"), told(tmp_path / NAME, NAME)
    assert run("compare", tame)[0] == 0
    code, out, err = run("compare", made)
    assert (code, err) == (0, "")
    assert "[red]" in out
    text = (made / "report.md").read_text(encoding="utf-8")
    assert is_plain_page(text)
    assert shape(text) == shape((tame / "report.md").read_text(encoding="utf-8"))
    assert text.count("## heading") > 5
    found = page(made / "report.html")
    assert found.tags == page(tame / "report.html").tags
    assert not steering("".join(found.words))
    (data,) = (word for word in found.words if word.startswith('{"arms"'))
    assert not steering("".join(strings(json.loads(data))))
    for name in ("table.csv", "pairs.csv"):
        assert is_plain_table((made / name).read_text(encoding="utf-8"))
        assert "'=1 #" in (made / name).read_text(encoding="utf-8")
    assert {path.name for path in (made / "plots").iterdir()} == {path.name for path in (tame / "plots").iterdir()}
    assert run("compare", made, "--json")[0] == 0
    assert run("status", made)[0] == 0
    assert run("status", made, "--json")[0] == 0


def test_a_gate_is_the_same_page_whatever_things_are_called(tmp_path, run):
    def judged(text):
        values = {(text if arm == "memrope" else arm, metric): found for (arm, metric), found in whole(1).items()}
        other = {key: np.asarray(found) * 1.2 for key, found in values.items()}
        arms = [{"label": text, "knobs": {text: text}, "weights": None}]
        asked = {**MANIFEST["asked"], "arms": arms}
        changed = {**MANIFEST, "asked": {**asked, "arms": [{**arms[0], "knobs": {text: text + "1"}}]}}
        troubles = (Trouble(text, "drift", text, "nan", text, 240, ((text, 0),)),)
        head = evidence(other, changed, troubles=troubles)
        base = evidence(
            values, {**MANIFEST, "asked": asked}, accepted=({"when": "2026", "who": text, "why": text, "commit": text},)
        )
        for each in (head, base):
            each.scores["scenario"] = text
        policy = {(suite, metric): Margin(0.05) for suite, metric in zip(head.scores["suite"], head.scores["metric"],
                                                                         strict=True)}  # fmt: skip
        return judge(head, base, policy)

    shapes = []
    for number, text in enumerate(("words", NAME, *(text.replace("\ud800", "") for text in TEXTS[:3]))):
        verdict = judged(text)
        own = [f"<details><summary>all {len(sheet(verdict, everything=True).rows)} numbers</summary>", "</details>"]
        folder = tmp_path / str(number)
        write(verdict, folder)
        made = (folder / "gate.md").read_text(encoding="utf-8")
        assert is_plain_page(made, own)
        shapes.append(shape(made))
        tests = ET.parse(folder / "junit.xml").getroot()
        assert len(tests) == len(verdict.findings)
        assert not any(steering(value) for each in tests.iter() for value in each.attrib.values())
        differing = replace(verdict, differences=[text], findings=())
        write(differing, folder)
        assert is_plain_page((folder / "gate.md").read_text(encoding="utf-8"), own)
        assert len(ET.parse(folder / "junit.xml").getroot()) == 1
    assert all(each == shapes[0] for each in shapes)
    head, base = verdict.head, verdict.base
    kept = {}
    for name, side in (("head", head), ("base", base)):
        kept[name] = tmp_path / f"{name}.parquet"
        keep(
            replace(side, scores=side.scores.assign(arm=NAME, scenario=NAME), troubles=(), manifest=MANIFEST),
            kept[name],
        )
    assert run("gate", kept["head"], "--baseline", kept["base"])[0] == 1
    assert run("gate", kept["head"], "--baseline", kept["base"], "--json")[0] == 1
    assert run("baseline", "show", kept["base"])[0] == 0


def test_a_history_is_drawn_whatever_things_are_called(tmp_path, run):
    folder = tmp_path / NAME
    folder.mkdir()
    for number in range(8):
        made = evidence(
            {("memrope", "cache_bytes"): [266_240 * (1 + (number > 3))] * 2}, {**MANIFEST, "when": str(number)}
        )
        keep(replace(made, scores=made.scores.assign(arm=NAME, scenario=NAME)), folder / f"{NAME} {number}.parquet")
    code, out, _ = run("history", folder)
    assert code == 0
    assert out.count("+100.0 %") == 1
    draw(steps(load(folder)), tmp_path / "a.svg")


@pytest.mark.parametrize("text", [MARKS, NAME, "$", "$$", r"\$ $", "$x_{$", "_hidden", "a\nb"])
def test_a_plot_draws_every_text_and_no_mathematics(tmp_path, monkeypatch, text):
    monkeypatch.setattr(mathtext.MathTextParser, "parse", lambda *_, **__: pytest.fail("it was read as mathematics"))
    filmstrip([torch.zeros(2, 3, 8, 8)] * 2, tmp_path / "strip.png", [text, text], [text, text], text)
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], label=text)
    axes.set_title(text)
    axes.set_xlabel(text)
    axes.annotate(text, (0, 0))
    figure.suptitle(text)
    figure.legend()
    for suffix in ("png", "svg", "pdf"):
        save(figure, tmp_path / f"plot.{suffix}")
    assert (tmp_path / "plot.svg").stat().st_size
    ET.parse(tmp_path / "plot.svg")


def test_the_numbers_along_an_axis_stay_powers_of_ten(tmp_path):
    lines = [{"step": step, "loss": 1.0 / step} for step in range(1, 2000)]
    training_curve(lines, tmp_path / "curve.svg", NAME)
    drawn = (tmp_path / "curve.svg").read_text(encoding="utf-8")
    assert r"$\mathdefault{10^{-3}}$" in drawn


def test_a_plan_is_drawn_whatever_a_strategy_is_called(tmp_path, monkeypatch):
    monkeypatch.setattr(mathtext.MathTextParser, "parse", lambda *_, **__: pytest.fail("it was read as mathematics"))
    stage = registry.backbone("wan-1.3b", device="meta")
    made = plan(registry.strategy("memrope"), stage, (60, 104), 240)
    device = replace(DEVICES["H100"], name=MARKS)
    picture([(MARKS, made), (NAME, made)], [device], tmp_path / "plan.svg", MARKS)
    ET.parse(tmp_path / "plan.svg")


def test_a_run_tells_what_went_wrong_in_one_line_a_cell(capsys):
    task = SimpleNamespace(rows=[0], frames=9, scenario=NAME)
    arm, suite = SimpleNamespace(label=MARKS), SimpleNamespace(name="drift")
    cell = SimpleNamespace(id="x", task=task, arm=arm, suite=suite, skip=None)
    with Ticker([cell]) as ticker:
        ticker.step(SimpleNamespace(frames=3, cell=cell, trouble=""))
        ticker.warn(MARKS)
        ticker.done(cell, "failed", MARKS)
    out = capsys.readouterr().out
    assert out.count("\n") == 2
    assert not steering(out)


def test_a_list_is_printed_whatever_plugins_are_called(plugin, run):
    from strategies.sliding_window import SlidingWindow

    class Mine(SlidingWindow):
        paper = NAME

    Mine.__doc__ = NAME
    plugin("strategies", NAME, Mine)
    plugin("suites", NAME, suite_called(NAME))
    for words in (("list",), ("list", "--json"), ("describe", NAME), ("describe", NAME, "--json")):
        assert run(*words)[0] == 0
    code, _, err = run("describe", f"{NAME}x")
    assert (code, err.count("\n")) == (2, 1)


def test_a_policy_can_be_read_back(tmp_path, plugin):
    plugin("suites", NAME, suite_called(NAME))
    (tmp_path / "policy.toml").write_text(written({(NAME, NAME): Margin(0.5)}, "about"), encoding="utf-8")
    assert load_toml(tmp_path / "policy.toml") == {NAME: {NAME: {"relative": 0.5, "gated": True}}}
    assert read_policy(tmp_path / "policy.toml", [NAME])[NAME, NAME].relative == 0.5
