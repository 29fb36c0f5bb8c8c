"""Methods at a budget of bytes: complete, near the budget, within the trained range; or refused with the reason."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import registry
from harness.backbone.presets import Backbone, scramble
from harness.backbone.sampler import Sampler
from harness.backbone.wan import CausalWan
from harness.errors import BudgetError, CampaignError, KnobError
from harness.memory import Strategy
from harness.memory.budget import (
    META,
    TOLERANCE,
    Part,
    apportion,
    dense_bytes,
    full_bytes,
    nearest,
    off_budget,
    readable,
)
from harness.memory.frames import FrameCache, window_bytes
from harness.plan.budget import at_equal_budget, budget_bytes
from harness.verify import invariants
from harness.verify import run as machine
from harness.verify.bench import CONFIG, LATENT_SIZE, Workbench
from tests import toy

KEPT = {
    "sliding_window": {"window"},
    "attention_sink": {"window", "sink"},
    "infinity_rope": {"window", "sink"},
    "memrope": {"window", "sink"},
    "rolling_sink": {"window"},
    "ema_sink": {"window"},
    "deep_forcing": {"window", "sink", "budget"},
    "longlive_rag": {"window", "sink", "memory"},
    "memflow": {"window", "sink", "bank"},
    "dummy_forcing": {"context"},
    "forcing_kv": {"static_context", "temporal_context", "dynamic_context"},
    "echo_infinity": {"window", "sink", "reach"},
    "echo_forcing": {
        *("anchors", "compressed", "recent", "sink", "rolling_cycle", "history", "candidates", "stride"),
        *("old_recent", "pool"),
    },
    "videomla": {"window", "policy"},
    "quantized": {"policy"},
}
"""The knobs that may change; all others say what the method is."""
ARMS = (
    "sliding_window",
    "attention_sink",
    "attention_sink.window=21,sink=10",
    "attention_sink.window=6",
    "attention_sink.pinned_at=20",
    "infinity_rope",
    "infinity_rope.pinned_at=21",
    "memrope",
    "memrope.alpha_long=none",
    "memrope.pooling=position",
    "rolling_sink",
    "rolling_sink.window=6",
    "ema_sink",
    "ema_sink.window=6",
    "ema_sink.window=12,accumulator=cache",
    "deep_forcing",
    "deep_forcing.budget=18,fusion=max,positions=contiguous",
    "deep_forcing.budget=19,max_reuse=none",
    "deep_forcing.budget=14",
    "deep_forcing.window=12,sink=3,budget=9,recent=3",
    "deep_forcing.compression=false,sink=14",
    "longlive_rag",
    "longlive_rag.window=21,sink=5,memory=6",
    "longlive_rag.memory=0,sink=3",
    "memflow",
    "memflow.window=21,sink=6,bank=5",
    "memflow.sma=true,pipeline=interactive",
    "dummy_forcing",
    "dummy_forcing.context=3,sink=2",
    "forcing_kv",
    "forcing_kv.sink=3,temporal_context=3,dynamic_context=2,static_context=5",
    "echo_infinity",
    "echo_infinity.memory=0",
    "echo_infinity.sink=0",
    "echo_infinity.positions=absolute,groups=2,source=group",
    "echo_forcing",
    "echo_forcing.compressed=0",
    "echo_forcing.anchors=4,rolling_cycle=1,recent=7",
    "echo_forcing.hierarchy=false,sink=6",
    "echo_forcing.history=42,compressed_rope=original",
    "videomla",
    "videomla.policy=memrope",
    "videomla.policy=[attention_sink.window=21,sink=10]",
    "quantized.policy=memrope",
    "quantized.store=int4,exact_sink=true,exact_recent=true",
    "quantized.policy=ema_sink,store=fp8,exact_recent=true",
)


@pytest.fixture(scope="module")
def pocket():
    return registry.backbone("pocket")


def open_on(strategy, spec):
    return strategy.open(replace(spec, device=META))


def parts(strategy, chunk):
    """The parts of a window, in latent frames, none of which may vanish."""
    strategy = getattr(strategy, "kept", getattr(strategy, "policy", strategy))
    knobs = strategy.knobs()
    if "anchors" in knobs:
        names = ("anchors", "compressed", "recent") if knobs["hierarchy"] else ("recent", "sink")
        return {name: knobs[name] for name in names}
    if "context" in knobs:
        return {"sink": knobs["sink"], "latest": knobs["context"]}
    if "static_context" in knobs:
        return {name: knobs[name] for name in ("static_context", "temporal_context", "dynamic_context")}
    if knobs.get("compression"):
        behind = knobs["recent"] - chunk
        return {"sunk": knobs["sink"], "chosen": strategy.chosen, "behind": behind}
    if "exclude" in knobs or "bank" in knobs:
        sink, chosen = knobs["sink"], knobs["memory" if "exclude" in knobs else "bank"]
        recent = knobs["window"] - chunk - sink - chosen * ("exclude" in knobs)
        return {"sink": sink, "chosen": chosen, "recent": recent}
    sink, memory = knobs.get("sink", 0), getattr(strategy, "streams", 0)
    return {"sink": sink, "memory": memory, "recent": knobs["window"] - chunk - sink - memory}


@pytest.mark.parametrize("text", ARMS)
def test_a_method_is_whole_at_every_budget(pocket, text):
    name, asked = registry.parse_strategy(text)
    spec = asked.adapt(pocket).memory_spec()
    own = asked.kept if name == "videomla" else asked
    shapes = {}
    for frames in range(1, pocket.trained_frames - pocket.chunk + 1):
        try:
            made = own.resized(spec, frames)
            open_on(made, spec)
        except KnobError:
            continue
        shapes[full_bytes(made, spec)] = made
    granule = max((b - a for a, b in itertools.pairwise(sorted(shapes))), default=0)
    there = 0
    for window in range(pocket.chunk + 1, pocket.trained_frames + 1):
        budget = dense_bytes(pocket.memory_spec(), window)
        if min(shapes) > (1 + TOLERANCE) * budget:
            with pytest.raises(BudgetError, match=r"^the smallest shape \("):
                asked.at_budget(spec, budget)
            continue
        found = asked.at_budget(spec, budget)
        there += 1
        capacity = open_on(found, spec).capacity
        assert capacity + pocket.chunk <= pocket.trained_frames
        off = abs(full_bytes(found, spec) - budget)
        assert off == min(abs(held - budget) for held in shapes)
        assert off <= granule / 2 or not min(shapes) <= budget <= max(shapes)
        changed = {knob for knob, value in found.knobs().items() if value != asked.knobs()[knob]}
        assert changed <= KEPT[name]
        before, after = parts(asked, pocket.chunk), parts(found, pocket.chunk)
        assert {part for part, frames in before.items() if frames} <= {part for part, frames in after.items() if frames}
        assert min(after.values()) >= 0
        if "memory" in before:
            assert after["memory"] == before["memory"]
        if "sink" in before:
            assert after["sink"] <= before["sink"]
            if after["sink"] < before["sink"]:
                # No part is a frame further from its share than the other.
                share = before["sink"] / (before["sink"] + before["recent"])
                assert after["sink"] == pytest.approx(share * (after["sink"] + after["recent"]), abs=1)
        note = off_budget(asked, found, spec, budget)
        assert (note is None) == (off <= TOLERANCE * budget)
    assert there >= 10


@pytest.mark.parametrize("text", ARMS)
def test_at_its_own_bytes_a_method_is_what_it_is(pocket, text):
    asked = registry.parse_strategy(text)[1]
    spec = asked.adapt(pocket).memory_spec()
    assert asked.at_budget(spec, full_bytes(asked, spec)) == asked


def test_a_sink_shrinks_along_with_its_window(pocket):
    strategy = registry.strategy("attention_sink", window=21, sink=10)
    spec = pocket.memory_spec()
    assert strategy.at_budget(spec, dense_bytes(spec, 12)) == replace(strategy, window=12, sink=5)
    assert strategy.at_budget(spec, dense_bytes(spec, 5)) == replace(strategy, window=5, sink=1)
    # The first frames of a longer window are the same ones.
    assert strategy.at_budget(spec, dense_bytes(spec, 30)) == replace(strategy, window=30, sink=10)


def test_echo_forcing_keeps_its_parts_in_proportion(pocket):
    strategy, spec = registry.strategy("echo_forcing"), pocket.memory_spec()
    half = strategy.resized(spec, 11)
    assert (half.anchors, half.compressed, half.recent, half.rolling_cycle) == (6, 2, 3, 2)
    # The candidates for a recall frame are still three, in what the anchors roll over.
    assert (half.candidates, half.stride) == (6, 2)
    assert half.pool == 39
    assert half.history == 14
    with pytest.raises(BudgetError, match=r"smallest shape is anchors 3 \+ compressed 1 \+ recent 3 latent frames"):
        strategy.resized(spec, 6)


def test_deep_forcing_keeps_its_parts_in_proportion(pocket):
    strategy, spec = registry.strategy("deep_forcing"), pocket.memory_spec()
    # 9 past frames: sink, chosen tokens, one recent frame, and what is appended between two compressions.
    assert strategy.resized(spec, 9) == replace(strategy, window=12, sink=5, budget=10)
    assert strategy.resized(spec, 11) == strategy.resized(spec, 9)
    assert strategy.resized(spec, 3) == replace(strategy, window=6, sink=1, budget=6)
    assert strategy.resized(spec, 27) == replace(strategy, window=30, sink=10, budget=19)
    with pytest.raises(BudgetError, match=r"smallest shape is sink 1 \+ chosen 1 \+ recent 1 latent frames"):
        strategy.resized(spec, 2)
    only = replace(strategy, compression=False, sink=14)
    assert only.resized(spec, 9) == replace(only, window=12, sink=7)


def test_a_size_that_repeats_counts_by_its_largest(pocket):
    strategy, spec = registry.strategy("deep_forcing"), pocket.memory_spec()
    held = [strategy.footprint(spec, frames) for frames in (24, 27, 30, 33)]
    assert held[:2] == held[2:]
    assert full_bytes(strategy, spec) == max(held)
    # Once, when the window overflows first, it holds more; check_room of a rollout knows.
    assert strategy.footprint(spec, 21) > max(held)


def test_echo_infinity_keeps_its_queries_and_its_ids(pocket):
    strategy = registry.strategy("echo_infinity")
    spec = strategy.adapt(pocket).memory_spec()
    large = strategy.at_budget(spec, dense_bytes(spec, 24))
    assert (large.window, large.memory, large.sink, large.reach) == (22, 3, 3, 25)
    with pytest.raises(BudgetError, match="6 memory frames have no ids behind a sink of 1 at the first eviction"):
        registry.strategy("echo_infinity", sink=1, memory=6).resized(spec, 12)


def test_latents_get_as_many_frames_as_the_backbone_was_trained_for(pocket):
    strategy = registry.strategy("videomla")
    spec, budget = strategy.adapt(pocket).memory_spec(), dense_bytes(pocket.memory_spec(), 12)
    found = strategy.at_budget(spec, budget)
    assert (found.window, found.kept.sink) == (pocket.trained_frames, 1)
    held = readable(full_bytes(found, spec))
    assert off_budget(strategy, found, spec, budget) == (
        f"holds {held} of {readable(budget)} (-65.6 %): more would be a longer context than the 36 latent frames of "
        "training"
    )
    free = strategy.at_budget(replace(spec, trained_frames=None), budget)
    assert full_bytes(free, spec) == pytest.approx(budget, rel=0.01)
    wide = registry.strategy("videomla", policy="attention_sink.window=21,sink=10")
    shrunk = wide.at_budget(spec, dense_bytes(spec, 12))
    assert shrunk.policy == registry.strategy("attention_sink", sink=5)
    assert shrunk.knobs()["policy"] == "attention_sink.sink=5"
    assert (shrunk.kept.window, shrunk.kept.sink) == (12, 5)


@pytest.mark.parametrize(
    ("text", "window", "reason"),
    [
        ("full", 12, "Full keeps every frame: its bytes grow with the video, so no budget holds it"),
        ("videomla.policy=full", 12, "Full keeps every frame: .*"),
        ("attention_sink.window=5", 12, "attention_sink: window 5 is smaller than sink 3 .*"),
    ],
)
def test_a_method_that_cannot_be_had_says_why(pocket, text, window, reason):
    strategy = registry.parse_strategy(text)[1]
    spec, budget = strategy.adapt(pocket).memory_spec(), dense_bytes(pocket.memory_spec(), window)
    with pytest.raises(KnobError, match=f"^{reason}$"):
        strategy.at_budget(spec, budget)


@pytest.mark.parametrize(
    ("text", "window", "least", "shape"),
    [("attention_sink", 4, 2, r"window=5,sink=1"), ("echo_forcing", 12, 7, r"anchors=3,.*")],
)
def test_a_budget_below_the_smallest_shape_is_refused_with_both_sizes(pocket, text, window, least, shape):
    """The smallest shape keeps `least` latent frames beside the chunk."""
    strategy, spec = registry.strategy(text), pocket.memory_spec()
    budget, held = dense_bytes(spec, window), full_bytes(strategy.resized(spec, least), spec)
    reason = rf"the smallest shape \({shape}\) holds {readable(held)}, and the budget is {readable(budget)}"
    with pytest.raises(BudgetError, match=f"^{reason}$"):
        strategy.at_budget(spec, budget)


def test_a_latent_strategy_refuses_a_dense_backbone(pocket):
    with pytest.raises(KnobError, match="opened for a dense backbone"):
        registry.strategy("videomla").at_budget(pocket.memory_spec(), dense_bytes(pocket.memory_spec(), 12))


@pytest.mark.parametrize("name", ["sliding_window", "memrope", "echo_forcing", "videomla"])
@pytest.mark.parametrize("budget", [10**18, 1, 0, -1])
def test_absurd_budgets_end(pocket, name, budget):
    strategy = registry.strategy(name)
    spec = replace(strategy.adapt(pocket).memory_spec(), trained_frames=None)
    began = time.monotonic()
    if budget > 1:
        assert open_on(strategy.at_budget(spec, budget), spec).capacity > 1000
    else:
        with pytest.raises(BudgetError, match="the smallest shape"):
            strategy.at_budget(spec, budget)
    assert time.monotonic() - began < 30


def test_the_budget_is_a_dense_window_of_the_trained_range(pocket):
    assert budget_bytes(pocket, 0) is None
    config = pocket.model.config
    rows, columns = pocket.latent_size
    tokens = rows * columns // 4  # patches of 2 x 2
    assert budget_bytes(pocket, 12) == 9 * tokens * config.num_layers * 2 * config.dim * 4  # keys and values, float32
    for window in (3, 37, 10**9):
        with pytest.raises(
            CampaignError, match=f"equal_budget = {window}: a dense window of pocket has 4 to 36 latent"
        ):
            budget_bytes(pocket, window)
    # The usual one gives way to a backbone of shorter clips.
    short = toy.backbone(trained_frames=9)
    assert budget_bytes(short, 12) == dense_bytes(short.memory_spec(), 9)
    with pytest.raises(CampaignError, match="equal_budget = 11: a dense window of toy has 4 to 9 latent frames"):
        budget_bytes(short, 11)


@dataclass(frozen=True, kw_only=True)
class Theirs(Strategy):
    """A third party's window that does not say what it is at other bytes."""

    paper = "https://arxiv.org/abs/2506.08009"
    window: int = 9

    def open(self, spec):
        return FrameCache(spec, window=self.window, positions="relative")

    def footprint(self, spec, frames):
        return window_bytes(spec, self.window, frames)


class Longer(Theirs):
    def at_budget(self, spec, budget):
        return replace(self, window=100)


class Wrong(Theirs):
    def at_budget(self, spec, budget):
        raise ZeroDivisionError("by zero")


class Nothing(Theirs):
    def at_budget(self, spec, budget):
        return None


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        (
            Theirs(),
            "Theirs holds {held} and does not say what it is at other bytes; it can, by a method resized or at_budget "
            "of its own",
        ),
        (Longer(), "its at_budget gives Longer(window=100), whose contexts exceed the 36 latent frames of training"),
        (Wrong(), "its at_budget raised ZeroDivisionError: by zero"),
        (Nothing(), "its at_budget raised AttributeError: 'NoneType' object has no attribute 'open'"),
    ],
)
def test_what_a_third_party_says_is_judged(pocket, strategy, reason):
    spec = pocket.memory_spec()
    said = reason.replace("{held}", readable(dense_bytes(spec, Theirs.window)))
    assert at_equal_budget(strategy, pocket, dense_bytes(spec, 12)) == (None, said)


def test_a_third_partys_method_at_its_own_bytes_needs_no_words(pocket):
    assert at_equal_budget(Theirs(), pocket, dense_bytes(pocket.memory_spec(), 9)) == (Theirs(), None)


def test_any_family_of_strategies_can_be_searched(pocket):
    """Sizes need not be latent frames, nor begin at 1."""
    spec = pocket.memory_spec()

    def make(size):
        if size < 3:
            raise BudgetError("three at least")
        return Theirs(window=3 + 2 * size)

    find = partial(nearest, make, 10, spec)
    assert find(dense_bytes(spec, 13)) == Theirs(window=13)
    assert find(dense_bytes(spec, 14)) == Theirs(window=13)  # as near as 15, and smaller
    assert find(10**9) == Theirs(window=23)
    held, budget = (readable(dense_bytes(spec, window)) for window in (9, 8))
    with pytest.raises(BudgetError, match=rf"the smallest shape \(\) holds {held}, and the budget is {budget}"):
        find(dense_bytes(spec, 8))
    with pytest.raises(BudgetError, match="none of its sizes up to 2 latent frames can be had: three at least"):
        nearest(make, 2, spec, 10**9)


sizes = st.lists(st.integers(0, 12), min_size=1, max_size=4).filter(any)


@given(sizes, st.integers(1, 60))
def test_parts_grow_together_and_are_themselves_at_their_own_size(each, frames):
    shape = {str(number): Part(size, least=min(1, size)) for number, size in enumerate(each)}
    assert list(apportion(sum(each), shape).values()) == each
    if frames < sum(part.least for part in shape.values()):
        with pytest.raises(BudgetError):
            apportion(frames, shape)
        return
    now, after = (list(apportion(count, shape).values()) for count in (frames, frames + 1))
    assert sum(now) == frames
    assert all(a <= b for a, b in zip(now, after, strict=True))
    assert [frame > 0 for frame in now] == [size > 0 for size in each]


def test_parts_that_grow_by_steps_or_not_at_all():
    shape = {"anchors": Part(12, least=3, step=3), "sink": Part(2, least=1, most=2)}
    assert apportion(4, shape) == {"anchors": 3, "sink": 1}
    assert apportion(6, shape) == {"anchors": 3, "sink": 1}  # the next step would be one too many
    assert apportion(7, shape) == {"anchors": 6, "sink": 1}
    assert apportion(20, shape) == {"anchors": 18, "sink": 2}
    assert apportion(9, {"sink": Part(2, least=1, most=2)}) == {"sink": 2}


@pytest.mark.parametrize(
    ("size", "said"), [(7, "7 B"), (36_864, "36.9 kB"), (999_700, "1,000 kB"), (1_150_976, "1.15 MB"), (4e9, "4.00 GB")]
)
def test_bytes_are_readable(size, said):
    assert readable(size) == said


@pytest.mark.parametrize(
    ("text", "window", "shape"),
    [
        ("attention_sink.window=21,sink=10", 12, "attention_sink.sink=5"),
        ("memrope", 6, "memrope.window=8,sink=1"),
        pytest.param("deep_forcing", 18, "deep_forcing.window=15,sink=6,budget=12", marks=pytest.mark.nightly),
        pytest.param("echo_infinity", 8, "echo_infinity.window=6,sink=1", marks=pytest.mark.nightly),
        pytest.param(
            "echo_forcing",
            17,
            "echo_forcing.anchors=3,rolling_cycle=1,compressed=1,history=10,stride=1,candidates=3,pool=25",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_what_is_found_keeps_every_invariant(pocket, monkeypatch, text, window, shape):
    asked, expected = (registry.parse_strategy(each)[1] for each in (text, shape))
    spec = asked.adapt(pocket).memory_spec()
    found = asked.at_budget(spec, dense_bytes(pocket.memory_spec(), window))
    assert found == expected
    model = scramble(CausalWan(CONFIG)).requires_grad_(False)
    tiny = Backbone(model=model, sampler=Sampler(steps=(1000,)), latent_size=LATENT_SIZE, trained_frames=36)
    monkeypatch.setattr(machine, "Workbench", partial(Workbench, backbone=tiny))
    monkeypatch.setattr(invariants, "LONG_CHUNKS", 10)
    assert [finding for finding in machine.verify(found) if finding.state == "fail"] == []
