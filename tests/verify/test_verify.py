"""verify finds nothing in the memories that ship, and in a broken one what is broken and where."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from harness.backbone.sampler import Sampler
from harness.errors import KnobError, ShapeError
from harness.memory import At, Context, Entries, Memory, MemorySpec, PromptSwitch, Strategy
from harness.memory.frames import FrameCache, window_bytes
from harness.registry import found, parse_strategy
from harness.rollout.loop import State, _Rollout
from harness.rollout.noise import PairedNoise
from harness.verify import bench as workbench
from harness.verify import byte_invariants, invariants
from harness.verify import run as machine
from harness.verify.bench import Workbench
from harness.verify.run import CHECKS, Finding, verify
from tests.lanes import pushed

LONG = 10
CHUNKS = 5  # of a rollout of a broken memory: one to fill its window, then four

CAUSAL = "prefix causality"
FULL = "equal to full attention until eviction"
BOUNDED = "bounded bytes"
PLANNED = "planned bytes = allocated bytes"
EVICTED = "evicted entries are not read"
KEPT = "kept entries are read"
SHARED = "two rollouts share nothing"
POSITIONS = "positions inside the claimed range"
SWITCH = "defined at a prompt switch"
SEED = "same seed, same bits"
RESUME = "stop and resume, same bits"
BATCH = "a batch of two = two batches of one"

NOT_FULL = {FULL, POSITIONS}
DEFAULTS = {"full": {BOUNDED, POSITIONS}, "deep_forcing": {POSITIONS}, "longlive_rag": {FULL}, "memflow": NOT_FULL}
DEFAULTS |= {"dummy_forcing": {POSITIONS}, "forcing_kv": NOT_FULL, "quantized": {FULL}}
MODES = {
    "attention_sink.window=9,positions=absolute,on_switch=recache": {POSITIONS},
    "attention_sink.window=9,on_switch=recache_all": set(),
    "attention_sink.window=9,sink=3,on_switch=flush": set(),
    "attention_sink.window=10,sink=5": set(),
    "attention_sink.pinned_at=20": set(),
    "attention_sink.window=9,pinned_at=12,on_switch=recache": set(),
    "attention_sink.window=9,pinned_at=8,on_switch=recache_all": set(),
    "attention_sink.window=9,pinned_at=6,on_switch=flush": {FULL},
    "deep_forcing.positions=contiguous": set(),
    "deep_forcing.budget=15,sink=9,fusion=max": {POSITIONS},
    "deep_forcing.window=12,sink=3,budget=9,recent=3,max_reuse=1": {POSITIONS},
    "deep_forcing.budget=21,recent=6,max_reuse=none": {POSITIONS},
    "deep_forcing.budget=14": {POSITIONS},
    "deep_forcing.compression=false,sink=14": {POSITIONS},
    "infinity_rope.pinned_at=21": set(),
    "infinity_rope.pinned_at=3": {FULL},
    "memrope.window=9,init=paper": {FULL},
    "memrope.window=9,pooling=position": set(),
    "memrope.window=9,pooling=adaptive,accumulator=cache": set(),
    "sliding_window.window=3": {FULL, KEPT},
    "longlive_rag.window=9,memory=3,exclude=0": {FULL},
    "longlive_rag.sink=3,memory=3,exclude=1,on_switch=recache": {FULL},
    "longlive_rag.window=15,memory=8,exclude=2,on_switch=recache_all": {FULL},
    "longlive_rag.window=11,sink=0,memory=8,exclude=1": {FULL, KEPT},
    "longlive_rag.memory=0,exclude=3": {FULL},
    "memflow.sma=true": NOT_FULL,
    "memflow.sma=true,pipeline=interactive,interval=1,bank=5": NOT_FULL,
    "memflow.pipeline=interactive,retake=false,switch_query=prompt": NOT_FULL,
    "memflow.window=9,sink=1,bank=2,on_switch=zero_sink": NOT_FULL,
    "memflow.window=3,sink=0,bank=1,on_switch=keep": {*NOT_FULL, KEPT},
    "dummy_forcing.dummies=0": {POSITIONS},
    "dummy_forcing.dummies=4,context=2": {POSITIONS},
    "dummy_forcing.start=2,context=3,sink=2,rows=sampled": {POSITIONS},
    "dummy_forcing.start=3,on_switch=keep": {POSITIONS},
    "dummy_forcing.dummies=1,start=2": {POSITIONS},
    "forcing_kv.start=2,sink=3,static_context=2,temporal_context=3,dynamic_context=2": {POSITIONS},
    "forcing_kv.dynamic_context=0,static_context=3,temporal_context=2": {POSITIONS},
    "forcing_kv.on_switch=recache_all,replayed=all,static_context=2,temporal_context=2": {POSITIONS},
    "forcing_kv.on_switch=keep,patches=2,start=3": NOT_FULL,
    "forcing_kv.on_switch=recache_all,sink=0,static_context=5": {POSITIONS},
    "quantized.policy=memrope,store=int4,exact_sink=true,exact_recent=true": {FULL},
    "quantized.policy=[ema_sink.accumulator=cache],store=fp8": {FULL},
    "quantized.policy=[attention_sink.on_switch=recache_all],store=int4,exact_sink=true": {FULL},
    "quantized.policy=deep_forcing,store=int4": {FULL, POSITIONS},
    "quantized.policy=longlive_rag,exact_sink=true": {FULL},
    "quantized.policy=memflow,store=fp8": NOT_FULL,
    "quantized.policy=echo_forcing,store=fp8": {FULL},
    "quantized.policy=videomla": {FULL},
    "quantized.policy=dummy_forcing": {FULL, POSITIONS},
    "quantized.policy=[forcing_kv.start=2,static_context=2,temporal_context=2],store=int4": NOT_FULL,
}
"""The invariants that do not apply; to the other strategies, with their default knobs, all of them do."""
PUSHED = (
    "attention_sink.window=9,positions=absolute,on_switch=recache",
    "deep_forcing.compression=false,sink=14",
    "memrope.window=9,pooling=adaptive,accumulator=cache",
    "sliding_window.window=3",
    "longlive_rag.sink=3,memory=3,exclude=1,on_switch=recache",
    "memflow.window=9,sink=1,bank=2,on_switch=zero_sink",
    "dummy_forcing.start=2,context=3,sink=2,rows=sampled",
    "forcing_kv.on_switch=keep,patches=2,start=3",
    "quantized.policy=[forcing_kv.start=2,static_context=2,temporal_context=2],store=int4",
)
"""Those that a push verifies."""
OTHERS = sorted(set(found("strategies")) - {text.partition(".")[0] for text in PUSHED})
"""Strategies of which a push verifies no mode, and therefore the defaults."""


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(found("strategies")))
def test_registered_strategy_keeps_every_invariant(name: str) -> None:
    assert_sound(parse_strategy(name)[1], DEFAULTS.get(name, set()))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("text", [*pushed(MODES, *PUSHED), *OTHERS])
def test_mode_keeps_every_invariant(text: str) -> None:
    assert_sound(parse_strategy(text)[1], (DEFAULTS | MODES).get(text, set()))


def assert_sound(strategy: Strategy, not_applicable: set[str]) -> None:
    findings = verify(strategy)
    assert [finding.invariant for finding in findings] == list(CHECKS)
    assert [finding for finding in findings if finding.state == "fail"] == []
    assert {finding.invariant for finding in findings if finding.state == "n/a"} == not_applicable
    assert all(finding.detail for finding in findings)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One denoising step a chunk instead of four, and shorter long videos: the checks are the same."""
    backbone = replace(Workbench(parse_strategy("full")[1]).backbone, sampler=Sampler(steps=(1000,)))
    monkeypatch.setattr(machine, "Workbench", partial(Workbench, backbone=backbone))
    for module in (invariants, byte_invariants):
        monkeypatch.setattr(module, "LONG_CHUNKS", LONG)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """Shorter videos all round: what is broken here shows early."""
    monkeypatch.setattr(workbench, "STEADY_CHUNKS", CHUNKS - 1)


class Window(FrameCache):
    """The memory that each broken one below differs from in one thing."""

    def __init__(self, spec: MemorySpec, strategy: Case) -> None:
        super().__init__(spec, window=strategy.window, positions="relative")
        self.strategy = strategy

    def full(self, at: At) -> bool:
        """Whether something was evicted, so that the comparison with full attention is over."""
        return at.start > self.strategy.window - self.spec.chunk

    def weighted(self, context: Context, weight: float | Tensor) -> Context:
        """The same context, every entry scaled."""
        tokens = context.frames * self.spec.frame_tokens
        weights = torch.ones(self.spec.batch, tokens) * weight
        return Context(context.slots, context.positions, context.start, weights if tokens else None)


@dataclass(frozen=True, kw_only=True)
class Case(Strategy):
    """Opens a `memory`; all that it claims holds for `Window`."""

    paper = "https://arxiv.org/abs/2506.08009"
    window: ClassVar[int] = 6
    memory: ClassVar[type[Window]] = Window

    def open(self, spec: MemorySpec) -> Memory:
        return self.memory(spec, self)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        return window_bytes(spec, self.window, frames)

    def position_limit(self, spec: MemorySpec) -> int | None:
        return self.window


def case(memory: type[Window], **overrides: Any) -> Strategy:
    """A strategy that opens this memory; overrides are methods and class attributes."""
    return type("Case", (Case,), {"memory": memory, **overrides})()


def horizon_overheard() -> Strategy:
    """`footprint` is asked about the whole video before its first chunk: the one way to hear of the horizon."""
    heard: list[int] = []

    class Impatient(Window):
        short = False

        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            self.short = heard[-1] < 3 * CHUNKS if at.start == 0 else self.short
            return self.weighted(super().recall(layer, query, at), 0.5 if self.short else 1.0)

    def footprint(self: Case, spec: MemorySpec, frames: int) -> int:
        heard.append(frames)
        return window_bytes(spec, self.window, frames)

    return case(Impatient, footprint=footprint)


def faded() -> Strategy:
    class Faded(Window):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            context = super().recall(layer, query, at)
            return context if self.full(at) else self.weighted(context, 0.9)

    return case(Faded)


def honest_but_growing() -> Strategy:
    """A scalar a layer a chunk, all of it planned."""

    class Diary(Window):
        def __init__(self, spec: MemorySpec, strategy: Case) -> None:
            super().__init__(spec, strategy)
            self.diary: list[Tensor] = []

        def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
            super().remember(layer, entries, query, at)
            self.diary.append(torch.zeros(1))

        def stored(self) -> Iterable[Tensor]:
            return [*super().stored(), *self.diary]

    def footprint(self: Case, spec: MemorySpec, frames: int) -> int:
        return window_bytes(spec, self.window, frames) + 4 * spec.layers * (frames // spec.chunk)

    return case(Diary, footprint=footprint)


def growing_in_a_period() -> Strategy:
    """Sizes that swing as declared, around one that grows, all of it planned."""

    class Pulse(Window):
        def __init__(self, spec: MemorySpec, strategy: Case) -> None:
            super().__init__(spec, strategy)
            self.pulse: dict[int, Tensor] = {}

        def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
            super().remember(layer, entries, query, at)
            number = at.start // 3
            self.pulse[layer] = torch.zeros(1 + number // 6 + 5 * (number % 2))

        def stored(self) -> Iterable[Tensor]:
            return [*super().stored(), *self.pulse.values()]

    def footprint(self: Case, spec: MemorySpec, frames: int) -> int:
        number = frames // 3 - 1
        return window_bytes(spec, self.window, frames) + 4 * spec.layers * (1 + number // 6 + 5 * (number % 2))

    return case(Pulse, footprint=footprint, period=lambda self, spec: 2)


def never_evicts() -> Strategy:
    class Everything(Window):
        def trim(self, layer: int) -> None:
            return

    return case(Everything)


def hoarder() -> Strategy:
    """What was evicted last is never read again, and never let go either."""

    class Hoarder(Window):
        attic: tuple[Entries, ...] = ()

        def drop(self, layer: int, ids: Iterable[int]) -> list[Entries]:
            dropped = super().drop(layer, ids)
            self.attic = (*dropped, *self.attic)[:1]
            return dropped

        def stored(self) -> Iterable[Tensor]:
            return [*super().stored(), *(x for entries in self.attic for x in entries.tensors)]

    return case(Hoarder)


def off_by_a_byte() -> Strategy:
    return case(Window, footprint=lambda self, spec, frames: window_bytes(spec, self.window, frames) + 1)


def view_that_pins_its_chunk() -> Strategy:
    """It keeps one frame a chunk, as a view of a copy of all three."""

    class Pins(Window):
        def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
            self.kept[layer] = {at.start: entries.map(Tensor.clone)[:1]}

    return case(Pins, footprint=lambda self, spec, frames: spec.bytes(spec.frame_tokens))


def alias() -> Strategy:
    class Alias(Window):
        def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
            for frame in range(at.frames):
                self.kept[layer][at.start + frame] = entries[frame : frame + 1]
            self.trim(layer)

    return case(Alias)


def ghost() -> Strategy:
    """The frame that was evicted last is still attended to; it is saved and restored, but not held."""

    class Ghost(Window):
        def __init__(self, spec: MemorySpec, strategy: Case) -> None:
            super().__init__(spec, strategy)
            self.ghosts: list[Entries | None] = [None] * spec.layers

        def drop(self, layer: int, ids: Iterable[int]) -> list[Entries]:
            dropped = super().drop(layer, ids)
            self.ghosts[layer] = dropped[-1] if dropped else self.ghosts[layer]
            return dropped

        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            context, seen = super().recall(layer, query, at), self.ghosts[layer]
            if seen is None:
                return context
            return Context((*context.slots, seen), [*context.positions, 0], context.start)

        def state_dict(self) -> dict[str, Any]:
            return super().state_dict() | {"ghosts": [ghost and list(ghost.tensors) for ghost in self.ghosts]}

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            super().load_state_dict(state)
            self.ghosts = [None if tensors is None else Entries(*tensors) for tensors in state["ghosts"]]

    return case(Ghost)


def mute() -> Strategy:
    class Mute(Window):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            context = super().recall(layer, query, at)
            if not self.full(at):
                return context
            return Context(context.slots[:-1], context.positions[:-1], context.start)

    return case(Mute)


def deaf_layer() -> Strategy:
    class Deaf(Window):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            context = super().recall(layer, query, at)
            return Context((), [], context.start) if layer == 1 and self.full(at) else context

    return case(Deaf)


def copies_shown() -> Strategy:
    """`held` answers with copies, so that nobody can see or touch what is really kept."""

    class Copies(Window):
        def held(self, layer: int) -> Mapping[int, Entries]:
            return {frame: entries.map(Tensor.clone) for frame, entries in self.kept[layer].items()}

    return case(Copies)


def one_place_for_all(window: int) -> Callable[[], Strategy]:
    """Frames are kept in the class, wiped when a memory is opened."""

    class Pool(Window):
        pool: ClassVar[list[dict[int, Entries]]] = [{}, {}]

        def __init__(self, spec: MemorySpec, strategy: Case) -> None:
            super().__init__(spec, strategy)
            self.kept = self.pool
            for kept in self.pool:
                kept.clear()

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            super().load_state_dict(state)
            for pool, kept in zip(self.pool, self.kept, strict=True):
                pool.update(kept)
            self.kept = self.pool

    return lambda: case(Pool, window=window)


def absolute() -> Strategy:
    class Absolute(Window):
        def place(self, ids: list[int], at: At) -> tuple[list[int], int]:
            return ids, at.start

    return case(Absolute)


def far_away_after_a_cut() -> Strategy:
    """Per-token positions, which are right until a hard cut moves the past past the limit."""

    class Far(Window):
        shift = 0

        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            context = super().recall(layer, query, at)
            times = torch.tensor(list(context.positions), dtype=torch.float64) + self.shift
            rows, columns = torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")
            places = torch.stack((rows, columns), -1).flatten(0, 1).expand(len(times), -1, -1)
            tokens = torch.cat((times[:, None, None].expand(-1, self.spec.frame_tokens, 1), places), -1)
            return Context(context.slots, tokens.flatten(0, 1)[None], context.start)

        def forget(self, switch: PromptSwitch) -> None:
            self.shift = 100 if switch.kind == "hardcut" else self.shift

        def state_dict(self) -> dict[str, Any]:
            return super().state_dict() | {"shift": self.shift}

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            super().load_state_dict(state)
            self.shift = state["shift"]

    return case(Far)


def undefined_after_a_recall() -> Strategy:
    class Undefined(Window):
        weight = 1.0

        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            return self.weighted(super().recall(layer, query, at), self.weight)

        def forget(self, switch: PromptSwitch) -> None:
            if switch.kind == "recall":
                self.weight = float("nan")

    return case(Undefined)


def dice() -> Strategy:
    class Dice(Window):
        generator = torch.Generator().manual_seed(0)

        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            context = super().recall(layer, query, at)
            return self.weighted(context, torch.rand(1, generator=self.generator)) if self.full(at) else context

    return case(Dice)


def forgetful() -> Strategy:
    """It alternates between two weights and does not save whose turn it is."""

    class Forgetful(Window):
        turn = 0

        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            self.turn += layer == 0
            return self.weighted(super().recall(layer, query, at), 0.5 if self.full(at) and self.turn % 2 else 1.0)

    return case(Forgetful)


def object_in_its_state() -> Strategy:
    class Objects(Window):
        def state_dict(self) -> dict[str, Any]:
            return super().state_dict() | {"layout": self.spec.layout}

    return case(Objects)


def rows_mixed() -> Strategy:
    class Mixed(Window):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            context = super().recall(layer, query, at)
            slots = tuple(slot.map(lambda x: x.mean(0, keepdim=True).expand_as(x)) for slot in context.slots)
            return Context(slots, context.positions, context.start)

    return case(Mixed)


def attic() -> Strategy:
    """Everything that was evicted is kept where nobody asks."""

    class Attic(Window):
        boxes: tuple[Entries, ...] = ()

        def drop(self, layer: int, ids: Iterable[int]) -> list[Entries]:
            dropped = super().drop(layer, ids)
            self.boxes = (*self.boxes, *dropped)
            return dropped

    return case(Attic)


def grows_at_a_switch() -> Strategy:
    class Scenes(Window):
        scenes: tuple[Tensor, ...] = ()

        def forget(self, switch: PromptSwitch) -> None:
            self.scenes = (*self.scenes, torch.zeros(1000))

        def stored(self) -> Iterable[Tensor]:
            return [*super().stored(), *self.scenes]

    return case(Scenes)


def below_zero() -> Strategy:
    class Shifted(Window):
        def place(self, ids: list[int], at: At) -> tuple[list[int], int]:
            positions, start = super().place(ids, at)
            return [position - 100 for position in positions], start - 100

    return case(Shifted)


def rows_mixed_at_a_switch() -> Strategy:
    class Mixed(Window):
        def forget(self, switch: PromptSwitch) -> None:
            for kept in self.kept:
                for frame, entries in kept.items():
                    kept[frame] = entries.map(lambda x: x.mean(0, keepdim=True).expand_as(x).clone())

    return case(Mixed)


def one_row_only() -> Strategy:
    class OneRow(Window):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            if self.spec.batch > 1:
                raise NotImplementedError("one row only")
            return super().recall(layer, query, at)

    return case(OneRow)


DIFFERS = r"differs by [\d.e-]+ \(allowed: 0\)"
BROKEN: dict[str, tuple[Callable[[], Strategy], dict[str, str]]] = {
    "horizon overheard": (
        horizon_overheard,
        {CAUSAL: f"a video of 2 chunks is not the start of one of {CHUNKS}: chunk 1 {DIFFERS}"},
    ),
    "faded": (faded, {FULL: r"nothing is evicted: chunk 1 differs by .* \(allowed: 2e-05\)"}),
    "honest but growing": (honest_but_growing, {BOUNDED: rf"bytes go from \d+ to \d+ over the last {LONG} chunks"}),
    "growing in a period": (
        growing_in_a_period,
        {BOUNDED: rf"bytes go from \d+ to \d+ over the last {LONG} chunks and do not repeat every 2$"},
    ),
    "never evicts": (
        never_evicts,
        {
            BOUNDED: "bytes go from",
            PLANNED: "after chunk 1 it holds 18432 bytes, and 9216 were planned",
            POSITIONS: "frame 6, layer 0: temporal id 8, and the claim is below 6",
        },
    ),
    "hoarder": (hoarder, {PLANNED: "after chunk 1 it holds 10752 bytes, and 9216 were planned"}),
    "off by a byte": (off_by_a_byte, {PLANNED: "after chunk 0 it holds 9216 bytes, and 9217 were planned"}),
    "view that pins": (
        view_that_pins_its_chunk,
        {PLANNED: "after chunk 0 it holds 9216 bytes, and 3072 were planned"},
    ),
    "alias": (alias, {EVICTED: r"lent or let go is still read \(aliased\): chunk 1 differs by nan"}),
    "ghost": (
        ghost,
        {
            EVICTED: r"lent or let go is still read \(aliased\): chunk 2 differs by nan",
            BOUNDED: r"after chunk 1 it keeps \d+ bytes alive and names \d+ of them",
            PLANNED: r"after chunk 1 it keeps \d+ bytes alive and names \d+ of them",
        },
    ),
    "attic": (
        attic,
        {
            BOUNDED: r"after chunk 1 it keeps \d+ bytes alive and names \d+ of them",
            PLANNED: r"after chunk 1 it keeps \d+ bytes alive and names \d+ of them",
        },
    ),
    "grows at a switch": (
        grows_at_a_switch,
        {BOUNDED: r"with prompt switches, \d+ bytes after chunk 1; at most 4608 are allowed"},
    ),
    "below zero": (below_zero, {POSITIONS: "frame 0, layer 0: temporal id -100 is below 0"}),
    "rows mixed at a switch": (rows_mixed_at_a_switch, {BATCH: "row 0 of a batch of two: chunk 1 differs by"}),
    "mute": (mute, {KEPT: f"frame {3 * CHUNKS - 1}, held after {CHUNKS} chunks, is never read"}),
    "deaf layer": (deaf_layer, {KEPT: f"frame {3 * CHUNKS - 3}, held after {CHUNKS} chunks, is never read in layer 1"}),
    "copies shown": (copies_shown, {KEPT: f"frame {3 * CHUNKS - 3}, held after {CHUNKS} chunks, is never read"}),
    "one place, one chunk held": (
        one_place_for_all(window=6),
        {SHARED: f"when another one runs between its chunks: chunk . {DIFFERS}", RESUME: "resumed after chunk"},
    ),
    "one place, two chunks held": (
        one_place_for_all(window=9),
        {SHARED: f"when another one runs between its chunks: chunk . {DIFFERS}", RESUME: "resumed after chunk"},
    ),
    "absolute": (absolute, {POSITIONS: "frame 6, layer 0: temporal id 8, and the claim is below 6"}),
    "far away after a cut": (
        far_away_after_a_cut,
        {POSITIONS: r"frame \d+, layer 0: temporal id 102, and the claim is below 6"},
    ),
    "undefined after a recall": (
        undefined_after_a_recall,
        {SWITCH: "recall switch at chunk 1: chunk 1 is not finite", RESUME: "chunk . differs by nan"},
    ),
    "dice": (
        dice,
        {
            EVICTED: f"chunk 2 {DIFFERS}",
            SHARED: f"chunk 2 {DIFFERS}",
            SEED: f"two runs with one seed: chunk 2 {DIFFERS}",
            RESUME: f"resumed after chunk 0 .* chunk 1 {DIFFERS}",
            BATCH: "row 0 of a batch of two: chunk 2 differs by",
        },
    ),
    "forgetful": (forgetful, {RESUME: rf"resumed after chunk 0 \(counted from there\): chunk 1 {DIFFERS}"}),
    "object in its state": (object_in_its_state, {RESUME: "raised UnpicklingError: "}),
    "rows mixed": (rows_mixed, {BATCH: r"row 0 of a batch of two: chunk 1 differs by .* \(allowed: 2e-05\)"}),
    "one row only": (
        one_row_only,
        {BATCH: "raised NotImplementedError: one row only", PLANNED: "raised NotImplementedError: one row only"},
    ),
}


def failed(findings: list[Finding]) -> dict[str, str]:
    return {finding.invariant: finding.detail for finding in findings if finding.state == "fail"}


def failed_alone(strategy: Strategy, *names: str) -> dict[str, str]:
    """What fails of these invariants, the others not run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "CHECKS", {name: CHECKS[name] for name in names})
        return failed(verify(strategy))


@pytest.mark.usefixtures("short")
def test_what_the_broken_ones_differ_from_is_sound() -> None:
    assert {finding.state for finding in verify(case(Window))} == {"pass"}
    assert Workbench(case(Window)).chunks == CHUNKS


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("name", BROKEN)
def test_broken_memory_fails_where_it_is_broken_and_nowhere_else(name: str) -> None:
    make, expected = BROKEN[name]
    found = failed(verify(make()))
    assert set(found) == set(expected)
    for invariant, detail in expected.items():
        assert re.search(detail, found[invariant])


def test_every_invariant_is_broken_by_some_memory() -> None:
    assert {invariant for _, expected in BROKEN.values() for invariant in expected} == set(CHECKS)


@pytest.mark.usefixtures("short")
def test_future_left_over_from_an_earlier_rollout_is_found() -> None:
    """Frames that a longer rollout left in the class stand in for those to come."""

    class Prophet(Window):
        seen: ClassVar[dict[tuple[int, int], Entries]] = {}

        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            context, coming = super().recall(layer, query, at), self.seen.get((layer, at.start + at.frames))
            if coming is None:
                return context
            return Context((*context.slots, coming), [*context.positions, 0], context.start)

        def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
            super().remember(layer, entries, query, at)
            self.seen[layer, at.start] = entries[:1].map(Tensor.clone)

    found = failed_alone(case(Prophet), CAUSAL, BOUNDED, POSITIONS)
    assert list(found) == [CAUSAL]
    assert re.search(f"is not the start of one of {CHUNKS}: chunk 0 {DIFFERS}", found[CAUSAL])


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("opening", "detail"),
    [
        (3, f"a video of 2 chunks is not the start of one of {CHUNKS}: chunk 1 differs"),
        (4, "noise of chunk 2 and later reaches back: chunk 1 differs"),
        (5, "a switch at chunk 2 reaches back: chunk 1 differs"),
    ],
)
def test_each_comparison_of_prefix_causality_can_fail(opening: int, detail: str) -> None:
    """The bench opens one memory, then one a rollout; this strategy opens another kind once."""
    turn = count(1)
    moody = case(Window, open=lambda self, spec: (Faint if next(turn) == opening else Window)(spec, self))
    assert failed_alone(moody, CAUSAL)[CAUSAL].startswith(detail)


class Faint(Window):
    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        return self.weighted(super().recall(layer, query, at), 0.9)


def test_a_switch_that_changes_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory can do that, as the prompt does not pass through it; a rollout that forgets the switch can."""
    monkeypatch.setattr(_Rollout, "_enter", lambda self: None)
    found = failed_alone(case(Window), SWITCH)
    assert found == {
        SWITCH: "smooth switch at chunk 1: the first chunk of the new prompt is the same as without a switch"
    }


def test_a_seed_that_changes_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory can do that, as the first chunk has no past; noise that ignores its seed can."""
    monkeypatch.setattr(Workbench, "noise", staticmethod(lambda *seeds: PairedNoise([(0, "")])))
    assert failed_alone(case(Window), SEED) == {SEED: "another seed gives the same first chunk"}


def test_a_resumed_rollout_of_another_length_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory can do that, as the rollout counts the frames; a rollout that skips a chunk can."""
    resume = _Rollout._resume

    def skipping(self: _Rollout, state: State) -> None:
        resume(self, state | {"start": state["start"] + 3})

    monkeypatch.setattr(_Rollout, "_resume", skipping)
    assert failed_alone(case(Window), RESUME) == {RESUME: "resumed after chunk 0: 5 chunks instead of 6"}


def raising(error: BaseException, verb: str) -> Strategy:
    """A memory one of whose verbs raises from frame 6 on, or at once where it is not told the frame."""

    def broken(self: Window, *given: Any) -> Any:
        at = next((x for x in given if isinstance(x, At | PromptSwitch)), None)
        if at is None or at.start >= 6:
            raise error
        return getattr(Window, verb)(self, *given)

    return case(type("Raising", (Window,), {verb: broken}))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("verb", "spared"),
    [
        ("recall", set()),
        ("remember", set()),
        ("forget", set(CHECKS) - {CAUSAL, BOUNDED, EVICTED, POSITIONS, SWITCH, RESUME, BATCH}),
        ("stored", set(CHECKS) - {BOUNDED, PLANNED}),
        ("state_dict", set(CHECKS) - {BOUNDED, PLANNED, KEPT, SHARED, RESUME}),
        ("load_state_dict", set(CHECKS) - {KEPT, RESUME}),
        ("held", set(CHECKS) - {FULL, EVICTED, KEPT}),
    ],
)
def test_exception_inside_a_memory_is_a_finding(verb: str, spared: set[str]) -> None:
    found = failed(verify(raising(ZeroDivisionError("no room for frame 6"), verb)))
    assert set(found) == set(CHECKS) - spared
    assert set(found.values()) == {"raised ZeroDivisionError: no room for frame 6"}


@pytest.mark.parametrize("where", ["footprint", "position_limit"])
def test_exception_inside_a_strategy_is_a_finding(where: str) -> None:
    def broken(self: Strategy, *given: Any) -> int:
        raise ZeroDivisionError("no plan")

    found = failed_alone(case(Window, **{where: broken}), PLANNED, POSITIONS)
    assert found[PLANNED if where == "footprint" else POSITIONS] == "raised ZeroDivisionError: no plan"


def test_refusal_of_the_rollout_is_a_finding() -> None:
    found = failed_alone(raising(ShapeError("too many frames"), "recall"), SEED)
    assert found == {SEED: "raised ShapeError: too many frames"}


def test_interruption_is_not_a_finding() -> None:
    with pytest.raises(KeyboardInterrupt):
        verify(raising(KeyboardInterrupt(), "recall"))


def test_knobs_that_do_not_fit_are_the_users_mistake() -> None:
    with pytest.raises(KnobError, match="attention_sink: window 12 is smaller than sink 10"):
        verify(parse_strategy("attention_sink.sink=10")[1])


def test_exception_while_opening_is_a_finding() -> None:
    class Unborn(Window):
        def __init__(self, spec: MemorySpec, strategy: Case) -> None:
            raise ZeroDivisionError("no memory")

    assert set(failed(verify(case(Unborn))).values()) == {"raised ZeroDivisionError: no memory"}


def test_layers_may_hold_different_frames() -> None:
    """The first layer keeps a chunk more than the second: unusual, and nothing is wrong with it."""

    class Uneven(Window):
        def trim(self, layer: int) -> None:
            room = 3 * (2 - layer)
            self.drop(layer, list(self.kept[layer])[:-room])

    def footprint(self: Case, spec: MemorySpec, frames: int) -> int:
        return spec.bytes((min(frames, 6) + min(frames, 3)) * spec.frame_tokens) // spec.layers

    assert failed_alone(case(Uneven, window=9, footprint=footprint), FULL, PLANNED, EVICTED, KEPT) == {}
