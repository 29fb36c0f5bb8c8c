"""The command line: its output, its exit codes, and one line for each mistake."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from harness import cli, registry
from harness.cli.console.terminal import command_line
from harness.memory import Memory, MemorySpec, Strategy
from harness.memory.frames import FrameCache
from harness.verify.run import CHECKS, Finding
from strategies.full import Full
from strategies.sliding_window import SlidingWindow

CONSOLE = Path(sys.executable).with_name("horizon")
MAIN = "from harness.cli import main; main()"


class Said(NamedTuple):
    code: object
    out: str
    err: str


Horizon = Callable[..., Said]


@pytest.fixture
def horizon(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Horizon:
    """Runs the command in this process."""

    def run(*argv: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["horizon", *argv])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Said(end.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object], None]]:
    """Registers one thing as the strategy `mine`, and nothing else."""

    def put(thing: object) -> None:
        module = ModuleType("my_plugin", "A plugin.")
        module.Mine = thing  # type: ignore[attr-defined]
        if isinstance(thing, type):
            monkeypatch.setattr(thing, "__module__", "my_plugin")
        monkeypatch.setitem(sys.modules, "my_plugin", module)
        point = EntryPoint("mine", "my_plugin:Mine", "horizon.strategies")
        monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])
        registry.found.cache_clear()

    yield put
    registry.found.cache_clear()


def is_one_line(said: Said) -> bool:
    """Whether it is the report of a mistake."""
    return (
        said.code == 2
        and said.out == ""
        and said.err.startswith("horizon: ")
        and said.err.count("\n") == 1
        and said.err.endswith("\n")
    )


def test_list_as_json(horizon: Horizon) -> None:
    said = horizon("list", "--json")
    assert (said.code, said.err) == (0, "")
    listed = json.loads(said.out)
    assert list(listed) == ["strategies", "suites", "metrics", "backbones"]
    by_name = {about["name"]: about for about in listed["strategies"]}
    assert list(by_name) == sorted(registry.found("strategies"))
    for name, about in by_name.items():
        assert list(about) == ["name", "about", "paper", "knobs", "text"]
        assert about["about"]
        assert about["paper"].startswith("https://")
        assert about["knobs"].keys() == registry.strategy(name).knobs().keys()
        assert all(knob.keys() == {"default", "allowed"} for knob in about["knobs"].values())
    assert by_name["full"]["knobs"] == {}
    assert by_name["sliding_window"]["knobs"]["window"] == {"default": 12, "allowed": "int >= 1"}
    assert by_name["infinity_rope"]["knobs"]["pinned_at"] == {"default": None, "allowed": "int >= 0 | none"}
    assert [suite["name"] for suite in listed["suites"]] == sorted(registry.found("suites"))
    assert all({"name", "about"} == about.keys() for about in listed["backbones"])
    assert "wan-1.3b" in [about["name"] for about in listed["backbones"]]


def test_list_as_tables(horizon: Horizon) -> None:
    said = horizon("list")
    assert (said.code, said.err) == (0, "")
    words = said.out.split()
    for name in (*registry.found("strategies"), *registry.found("suites"), *registry.found("backbones")):
        assert name in words
    assert "pinned_at=none" in said.out


FRAME = 2 * 12 * 128 * 30 * 1560 * 2
"""Bytes of a cached frame at Wan size: key and value, 12 heads of 128, 30 layers, 1560 tokens, two bytes each."""
HORIZONS = {"5 s": 21, "30 s": 120, "60 s": 240, "4 min": 960, "1 h": 14400, "24 h": 345600}


@pytest.mark.parametrize(
    ("name", "held", "laid_out"), [("full", HORIZONS.values(), HORIZONS.values()), ("infinity_rope", [3] * 6, [6] * 6)]
)
def test_describe_a_strategy(horizon: Horizon, name: str, held: Iterable[int], laid_out: Iterable[int]) -> None:
    said = horizon("describe", name, "--json")
    assert (said.code, said.err) == (0, "")
    about = json.loads(said.out)
    assert list(about) == ["name", "about", "paper", "knobs", "text", "price"]
    assert about["price"] == [
        {"horizon": words, "latent_frames": frames, "held_bytes": FRAME * kept, "laid_out_bytes": FRAME * room}
        for (words, frames), kept, room in zip(HORIZONS.items(), held, laid_out, strict=True)
    ]
    text = horizon("describe", name).out
    assert " ".join(about["text"].split()) in " ".join(text.split())
    for price in about["price"]:
        row = next(line for line in text.splitlines() if line.startswith(price["horizon"]))
        assert f"{price['held_bytes'] / 1e9:,.2f} GB" in row
        assert f"{price['laid_out_bytes'] / 1e9:,.2f} GB" in row


def test_describe_shows_each_knob(horizon: Horizon) -> None:
    words = horizon("describe", "memrope").out.split("knob ")[1]
    for knob, about in registry.strategy("memrope").knobs().items():
        row = next(line for line in words.splitlines() if line.startswith(knob))
        assert str(about) in row.split()


def test_describe_a_backbone(horizon: Horizon) -> None:
    said = horizon("describe", "wan-1.3b", "--json")
    assert said.code == 0
    about = json.loads(said.out)
    assert (about["name"], about["dtype"], about["chunk"], about["trained_frames"]) == ("wan-1.3b", "bfloat16", 3, 21)
    assert about["parameters"] == 1_418_996_800  # of Wan2.1-T2V-1.3B as published
    assert about["bytes"] == 2 * about["parameters"]
    assert about["timesteps"] == [1000, 937.5, 833.3333, 625]
    assert f"{about['parameters']:,}" in horizon("describe", "wan-1.3b").out


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What verify finds, in place of running it."""
    made: list[Finding] = []
    monkeypatch.setattr("harness.verify.run.verify", lambda strategy: made)
    return made


def test_verify_as_json(horizon: Horizon) -> None:
    said = horizon("verify", "sliding_window.window=3,positions=absolute", "--json")
    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    assert list(found) == ["strategy", "knobs", "findings"]
    assert found["strategy"] == "sliding_window.window=3,positions=absolute"
    assert found["knobs"] == SlidingWindow(window=3, positions="absolute").knobs()
    assert [list(finding) for finding in found["findings"]] == [["invariant", "state", "detail"]] * len(CHECKS)
    assert [finding["invariant"] for finding in found["findings"]] == list(CHECKS)
    assert {finding["state"] for finding in found["findings"]} == {"pass", "n/a"}


def test_verify_as_a_table(horizon: Horizon, findings: list[Finding]) -> None:
    findings += [Finding("one", "pass", "all of them"), Finding("two", "n/a", "as declared"), Finding("3", "pass", "x")]
    said = horizon("verify", "full")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("Full()")
    assert "2 passed, 0 failed, 1 do not apply" in said.out
    assert ["two", "n/a", "as", "declared"] in [line.split() for line in said.out.splitlines()]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_broken_invariant_exits_with_one(horizon: Horizon, findings: list[Finding], options: tuple[str, ...]) -> None:
    findings += [Finding("one", "pass", "fine"), Finding("two", "fail", "chunk 3 differs"), Finding("3", "n/a", "-")]
    said = horizon("verify", "full", *options)
    assert (said.code, said.err) == (1, "")
    assert "chunk 3 differs" in said.out
    if options:
        assert json.loads(said.out)["findings"] == [dataclasses.asdict(finding) for finding in findings]
    else:
        assert "1 passed, 1 failed, 1 do not apply" in said.out


def test_a_broken_strategy_exits_with_one(
    horizon: Horizon, mine: Callable[[object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Liar(Full):
        def footprint(self, spec: MemorySpec, frames: int) -> int:
            return 0

    planned, seed = "planned bytes = allocated bytes", "same seed, same bits"
    monkeypatch.setattr("harness.verify.run.CHECKS", {name: CHECKS[name] for name in (planned, seed)})
    mine(Liar)
    said = horizon("verify", "mine", "--json")
    assert said.code == 1
    found = {finding["invariant"]: finding["state"] for finding in json.loads(said.out)["findings"]}
    assert found == {planned: "fail", seed: "pass"}


@pytest.mark.parametrize(
    "detail",
    ["raised ValueError: needs [batch, frames], not [3, 4]", "raised KeyError: '[/x]'", "raised X: :warning: \\[b]"],
)
def test_verify_shows_a_detail_as_it_is(horizon: Horizon, findings: list[Finding], detail: str) -> None:
    """Square brackets in a message are text: shapes, mostly."""
    findings.append(Finding("one", "fail", detail))
    said = horizon("verify", "full")
    assert said.code == 1
    assert detail in " ".join(said.out.split())


MISTAKES = [
    (("lst",), "No such command 'lst'"),
    (("list", "--jsn"), "No such option: --jsn"),
    (("list", "memrope"), "unexpected extra argument"),
    (("--json",), "No such option: --json"),
    (("verify",), "Missing argument"),
    (("describe",), "Missing argument"),
    (("verify", "memrope", "full"), "unexpected extra argument"),
    (("verify", "memrop"), "did you mean 'memrope'"),
    (("verify", ""), "There are: attention_sink"),
    (("verify", "memrope."), "write NAME or NAME.KNOB=VALUE"),
    (("verify", "memrope.window"), "write NAME.KNOB=VALUE"),
    (("verify", "memrope.windw=9"), "did you mean 'window'?"),
    (("verify", "memrope.window=9.5"), "allowed: int >= 1"),
    (("verify", "memrope.window=true"), "allowed: int >= 1"),
    (("verify", "memrope.alpha_long=NaN"), "allowed: float > 0, <= 1 | none"),
    (("verify", "memrope.alpha_long=none,alpha_short=none"), "leave one, or use attention_sink"),
    (("verify", "memrope.window=7"), "raise window to at least 8"),
    (("verify", "attention_sink.positions=slots"), "allowed: absolute | relative"),
    (("verify", "two\nlines"), "no strategies entry is called 'two\\nlines'"),
    (("verify", "full.window=3"), "it has no knobs at all"),
    (("verify", "wan"), "no strategies entry is called 'wan'"),
    (("describe", "slidng_window"), "did you mean 'sliding_window'"),
    (("describe", "wan-14b"), "backbones: causal-forcing, longlive, pocket, self-forcing, sgf, wan-1.3b"),
    (("describe", "memrope.window=9"), "did you mean 'memrope'?"),
]


@pytest.mark.parametrize(
    ("argv", "hint"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_mistake_is_one_line_that_helps(horizon: Horizon, argv: tuple[str, ...], hint: str) -> None:
    said = horizon(*argv)
    assert is_one_line(said)
    assert hint in said.err


def test_without_a_command_there_is_help(horizon: Horizon) -> None:
    said = horizon()
    lines = (said.out + said.err).splitlines()
    assert "Commands:" in lines
    assert any(line.split()[:1] == ["verify"] for line in lines)


@dataclass(frozen=True, kw_only=True)
class NoPaper(Strategy):
    """Says nothing about where it is from."""

    def open(self, spec: MemorySpec) -> Memory:
        return FrameCache(spec, window=None)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        return spec.bytes(frames * spec.frame_tokens)


@dataclass(frozen=True, kw_only=True)
class NoDefault(Full):
    """Has a knob that must be given."""

    rooms: int


@dataclass(frozen=True, kw_only=True)
class Factory(Full):
    """Has a default that is made when it is needed."""

    rooms: tuple[int, ...] = dataclasses.field(default_factory=lambda: (1, 2))


@dataclass(frozen=True, kw_only=True)
class NotJson(Full):
    """Has a default that JSON has no word for."""

    chance: complex = 1j


@dataclass(frozen=True, kw_only=True)
class Unopened(Full):
    """Cannot be opened."""

    def open(self, spec: MemorySpec) -> Memory:
        raise TypeError("no memory")


@dataclass(frozen=True, kw_only=True)
class Unplanned(Strategy):
    """Has no footprint."""

    paper = "https://arxiv.org/abs/2506.08009"

    def open(self, spec: MemorySpec) -> Memory:
        return FrameCache(spec, window=None)


@dataclass(frozen=True, kw_only=True)
class Brackets(Full):
    """Keeps [batch, frames] of [/them]."""


@pytest.mark.parametrize(
    "argv", [("list",), ("list", "--json"), ("describe", "mine"), ("verify", "mine")], ids=" ".join
)
@pytest.mark.parametrize(
    "thing", [NoPaper, NoDefault, Factory, NotJson, Unopened, Unplanned, Brackets, NoDefault(rooms=1), None]
)
def test_plugin_that_is_half_written_never_ends_in_a_traceback(
    horizon: Horizon,
    mine: Callable[[object], None],
    monkeypatch: pytest.MonkeyPatch,
    thing: object,
    argv: tuple[str, ...],
) -> None:
    monkeypatch.setattr("harness.verify.run.CHECKS", {})
    mine(thing)
    said = horizon(*argv)
    assert is_one_line(said) or (said.code in {0, 1} and said.err == "")


def test_interruption_ends_quietly(horizon: Horizon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.verify.run.verify", lambda strategy: os.kill(os.getpid(), signal.SIGINT))
    # Where the tests run in the background, the shell may have told them to ignore interruptions.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        said = horizon("verify", "full")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (said.code, said.out) == (130, "")
    assert said.err in {"", "horizon: interrupted\n"}


def run(code: str, *argv: str, **options: Any) -> subprocess.Popen[str]:
    """A process of its own, with the output buffered as usual and one thread."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *argv],
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        **options,
    )


@pytest.mark.parametrize("argv", [("--help",), ("list",), ("describe", "full", "--json")], ids=" ".join)
def test_reader_that_goes_away_is_no_mistake(argv: tuple[str, ...]) -> None:
    process = run(MAIN, *argv)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() in {0, 1}


def test_help_does_not_wait_for_torch() -> None:
    code = """
import sys
from harness.cli import main
try:
    main()
finally:
    print(*(name for name in ("torch", "numpy", "pydantic", "pandas") if name in sys.modules), file=sys.stderr)
"""
    process = run(code, "--help")
    out, err = process.communicate()
    assert process.returncode == 0
    assert "verify" in out
    assert err == "\n"


def test_console_script_is_the_same_command() -> None:
    done = subprocess.run([CONSOLE, "lst"], capture_output=True, encoding="utf-8", check=False)
    assert is_one_line(Said(done.returncode, done.stdout, done.stderr))


def test_commands_and_options_are_these() -> None:
    """They are a promise to scripts: a change here is a line in the changelog."""
    commands = dict(command_line().commands)
    inner = commands.pop("baseline").commands
    commands |= {f"baseline {name}": command for name, command in inner.items()}
    assert {name: [parameter.opts[0] for parameter in command.params] for name, command in commands.items()} == {
        "status": ["folder", "--watch", "--json"],
        "run": [
            *("campaign", "--strategy", "--suite", "--tier", "--seed", "--seeds", "--backbone", "--device", "--out"),
            *("--retry", "--keep-stale", "--timeout", "--save-every", "--threads", "--engine", "--workers"),
            *("--address", "--shard", "--equal-budget", "--dtype", "--compile", "--weights", "--size"),
            *("--tiling", "--offload", "--container", "--chunk", "--decoder", "--prompts", "--lossless"),
            *("--baseline", "--paper", "--dry-run", "--gpu", "--measured"),
        ],
        "submit": [
            *("arguments", "--slurm", "--local", "--tasks", "--gpus", "--cpus", "--memory", "--hours", "--partition"),
            *("--account", "--at-once", "--logs", "--dry-run"),
        ],
        "compare": ["folders", "--baseline", "--out", "--serve", "--port", "--json"],
        "board": ["folders", "--out", "--title", "--json"],
        "share": ["folder", "--to", "--license", "--private"],
        **{
            name: ["films", "--name", "--prompts", "--out", "--suite", "--rate", "--seconds", "--chunk", "--workers"]
            for name in ("import", "score")
        },
        "films": ["folder", "--json"],
        "merge": ["target", "sources"],
        "gate": [
            *("run", "--against", "--baseline", "--measure", "--campaign", "--strategy", "--policy", "--minutes"),
            *("--workers", "--threads", "--strict", "--out", "--json"),
        ],
        "aa": ["out", "--runs", "--campaign", "--policy", "--minutes", "--gates", "--json"],
        "history": ["folder", "--metric", "--out", "--json"],
        "baseline accept": ["run", "--to", "--why", "--who"],
        "baseline show": ["file", "--json"],
        "plan": ["--strategy", "--backbone", "--size", "--seconds", "--gpu", "--dtype", "--chunk", "--out", "--json"],
        "doctor": ["--device", "--backbone", "--out", "--seconds", "--weights", "--decoder", "--json"],
        "list": ["--json"],
        "describe": ["name", "--weights", "--decoder", "--json"],
        "verify": ["strategy", "--json"],
        "sample": [
            *(
                "prompt",
                "--strategy",
                "--seconds",
                "--seed",
                "--backbone",
                "--device",
                "--dtype",
                "--compile",
                "--weights",
                "--size",
                "--tiling",
            ),
            *("--offload", "--container", "--chunk", "--decoder", "--out"),
        ],
        "train": ["what", "--backbone", "--stage", "--out", "--seed", "--device", "--threads", "--install"],
        "calibrate": [
            *("what", "--backbone", "--rollouts", "--seed", "--device", "--weights", "--size", "--tiling"),
            *("--offload", "--container", "--chunk", "--out", "--install"),
        ],
    }
