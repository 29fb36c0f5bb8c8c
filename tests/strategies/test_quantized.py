"""Any policy in fewer bits: what stays what the policy says, what stays exact, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.backbone.layout import DenseLayout
from harness.errors import BudgetError, KnobError, ResumeError
from harness.memory import At, Context, Entries, Memory, MemorySpec
from harness.memory.budget import dense_bytes, full_bytes
from harness.memory.frames import FrameCache
from harness.memory.knobs import knobs_set
from harness.memory.packed import PackedEntries, Store
from harness.memory.proxy import Watched
from harness.plan.planning import plan
from harness.pocket.preset import pocket
from harness.verify import verify
from harness.verify.bench import Workbench
from strategies.attention_sink import AttentionSink
from strategies.full import Full
from strategies.quantized import Quantized
from strategies.sliding_window import SlidingWindow

STORES: tuple[Store, ...] = get_args(Store)
POLICIES = ("sliding_window", "attention_sink", "infinity_rope", "memrope", "rolling_sink", "ema_sink")
WAN = MemorySpec(30, DenseLayout(12, 128), 1560, 3, dtype=torch.bfloat16)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "policy", [*POLICIES, "deep_forcing", "longlive_rag", "memflow", "echo_infinity", "videomla.latent=4"]
)
@pytest.mark.parametrize("store", STORES)
def test_every_policy_keeps_the_invariants_in_every_store(policy: str, store: Store) -> None:
    assert [found for found in verify(Quantized(policy=policy, store=store)) if found.state == "fail"] == []


@pytest.mark.parametrize("policy", [*POLICIES, "deep_forcing", "echo_forcing"])
def test_until_something_leaves_a_policy_is_full_attention_to_packed_frames(policy: str) -> None:
    bench = Workbench(Quantized(policy=policy))
    full = Workbench(Quantized(policy="full"), bench.backbone)
    for ours, theirs in zip(bench.latents(2), full.latents(2), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


@pytest.mark.parametrize("store", STORES)
def test_fewer_bits_are_farther_from_exact_frames(store: Store) -> None:
    exact = Workbench(AttentionSink())
    off = [
        max(float((a - b).abs().max()) for a, b in zip(exact.latents(8), bench.latents(8), strict=True))
        for bench in (Workbench(Quantized(store=store)), Workbench(Quantized(store=store, exact_recent=True)))
    ]
    assert all(0 < each < {"int8": 0.1, "int4": 2.0, "fp8": 1.0}[store] for each in off)


def test_what_is_to_stay_exact_is() -> None:
    seen: dict[int, list[bool]] = {}

    class Seen(Watched):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            context = super().recall(layer, query, at)
            if layer == 0:
                seen[at.start] = [isinstance(slot, PackedEntries) for slot in context.slots]
            return context

    Workbench(Quantized(policy="[attention_sink.window=12,sink=2]", exact_sink=True)).latents(5, watch=Seen)
    assert seen[3] == [False, False, True]
    assert seen[12] == [False] * 2 + [True] * 7
    Workbench(Quantized(policy="attention_sink", exact_recent=True)).latents(5, watch=Seen)
    assert seen[3] == [False] * 3
    assert seen[12] == [True] * 6 + [False] * 3
    Workbench(Quantized(policy="sliding_window.window=6", exact_recent=True)).latents(5, watch=Seen)
    assert seen[12] == [False] * 3


def test_with_all_frames_exact_it_is_the_policy() -> None:
    exact = Workbench(registry.strategy("sliding_window", window=6))
    ours = Workbench(Quantized(policy="sliding_window.window=6", exact_recent=True), exact.backbone)
    assert all(map(torch.equal, ours.latents(5), exact.latents(5)))


def test_averages_are_kept_as_the_policy_says() -> None:
    for accumulator, packs in (("float32", False), ("cache", True)):
        opened: list[Memory] = []

        def caught(memory: Memory, opened: list[Memory] = opened) -> Memory:
            opened.append(memory)
            return memory

        *_, last = Workbench(Quantized(policy=f"[ema_sink.accumulator={accumulator}]")).roll(5, watch=caught)
        last.state()
        (average, *_), *_ = opened[0].inner.averages  # type: ignore[attr-defined]
        assert isinstance(average, PackedEntries) == packs
        assert average.tensors[0].dtype == torch.float32


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("policy", POLICIES)
def test_bytes_at_wan_size(policy: str, store: Store) -> None:
    """A packed cache takes a half or a quarter of the bytes of bfloat16, and scales; averages in float32 stay so."""
    exact, made = registry.strategy(policy), Quantized(policy=policy, store=store)
    share = full_bytes(made, WAN) / full_bytes(exact, WAN)
    if policy == "ema_sink":
        # Three of its six frames are float32, twice the bytes of bfloat16.
        share = 3 * share - 2
    assert share == pytest.approx({"int8": 0.5085, "int4": 0.2585, "fp8": 0.5042}[store], abs=2e-3)
    assert full_bytes(replace(made, exact_recent=True), WAN) == full_bytes(made, WAN) + WAN.bytes(3 * 1560)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("policy", POLICIES)
def test_equal_bytes_hold_more_frames(policy: str, store: Store) -> None:
    spec = replace(WAN, trained_frames=None)
    budget = dense_bytes(spec, 24)
    exact, packed = registry.strategy(policy).at_budget(spec, budget), Quantized(policy=policy, store=store)
    found = packed.at_budget(spec, budget)
    assert isinstance(found, Quantized)
    assert full_bytes(found, spec) == pytest.approx(budget, rel=0.1)
    frames = [each.open(replace(spec, device=torch.device("meta"))).capacity for each in (exact, found)]
    assert frames[0] is not None
    assert frames[1] is not None
    assert frames[1] > {"int8": 1.7, "int4": 3.0, "fp8": 1.7}[store] * frames[0]


def test_what_stays_exact_may_leave_no_room() -> None:
    latent = Quantized(policy="videomla", exact_recent=True)
    spec = latent.adapt(Workbench(Full()).backbone).memory_spec()
    with pytest.raises(BudgetError, match="the frames that stay exact take all of 100 B; leave one of the knobs out"):
        latent.at_budget(spec, 100)
    with pytest.raises(
        BudgetError, match="Full keeps every frame: its bytes grow with the video, so no budget holds it"
    ):
        Quantized(policy="full").at_budget(WAN, 10**9)


def test_the_plan_names_the_bytes_of_a_packed_token() -> None:
    at = pocket("meta")
    exact, packed = (plan(each, at, at.latent_size, 36) for each in (AttentionSink(), Quantized()))
    assert packed.cache_bytes_per_token * 2 < exact.cache_bytes_per_token
    assert packed.laid_out_bytes == exact.laid_out_bytes
    # What is kept of a window of 12 beside the chunk of 3.
    assert packed.cache_bytes // (9 * at.memory_spec().frame_tokens) == packed.cache_bytes_per_token


def state_of(strategy: Quantized) -> Mapping[str, Any]:
    *_, last = Workbench(strategy).roll(4)
    return last.state()["memory"]


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (Quantized(store="int4"), "this state keeps its frames as int8 of float32 by channel and token with scales in"),
        (Quantized(store="fp8"), "and this memory keeps them as fp8 of float32 by channel and token"),
        (
            Quantized(policy="[videomla.policy=attention_sink,parameters=random]"),
            "keeps them as int8 of float32 by token",
        ),
    ],
)
def test_a_state_of_another_precision_is_refused_in_one_line(other: Quantized, says: str) -> None:
    state, bench = state_of(Quantized()), Workbench(other)
    with pytest.raises(ResumeError, match=re.escape(says)) as said:
        other.open(bench.spec()).load_state_dict(state)
    assert "\n" not in str(said.value)
    exact = AttentionSink().open(bench.spec())
    with pytest.raises(ResumeError, match="and this memory keeps them exact"):
        exact.load_state_dict(state["policy"])
    *_, last = Workbench(AttentionSink()).roll(4)
    with pytest.raises(ResumeError, match="this state keeps its frames exact, and this memory keeps them as int8"):
        Quantized().open(bench.spec()).load_state_dict(last.state()["memory"])


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"store": "int7"}, "knob store = 'int7' is not allowed; allowed: int8 | int4 | fp8"),
        ({"policy": "quantized"}, "policy quantized packs its frames already; give the policy inside of it"),
        ({"policy": "sliding_window", "exact_sink": True}, "policy sliding_window keeps no sink as it is; leave"),
        ({"policy": "attention_sink.sink=0", "exact_sink": True}, "policy attention_sink keeps no sink as it is"),
        ({"policy": "ema_sink", "exact_sink": True}, "policy ema_sink keeps no sink as it is; leave exact_sink out"),
        ({"policy": "memrope.sink=9"}, "window 12 is smaller than"),
        ({"policy": "[videomla.latent=3,parameters=random]", "store": "int4"}, "LatentLayout cannot be stored as int4"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(knobs: dict[str, Any], says: str) -> None:
    with pytest.raises(KnobError, match=re.escape(says)) as caught:
        Workbench(Quantized(**knobs)).latents(1)
    assert "\n" not in str(caught.value)


RECORDED = {
    "quantized": ("attention_sink", {}),
    "quantized.policy=memrope,store=int4": ("memrope", {"policy": {"MemRoPE": {}}, "store": "int4"}),
    "quantized.policy=[memrope.window=24,sink=1]": (
        "[memrope.window=24,sink=1]",
        {"policy": {"MemRoPE": {"window": 24, "sink": 1}}},
    ),
}


@pytest.mark.parametrize("typed", RECORDED)
def test_a_policy_is_recorded_as_it_was_typed(typed: str) -> None:
    text, named = RECORDED[typed]
    made = registry.parse_strategy(typed)[1]
    assert isinstance(made, Quantized)
    assert made.knobs()["policy"] == text
    assert knobs_set(made) == named
    assert repr(registry.strategy("quantized", **json.loads(json.dumps(made.knobs())))) == repr(made)


def test_the_policys_nature_is_its_own() -> None:
    assert not Quantized(policy="full").bounded
    assert Quantized(policy="deep_forcing").reads_query
    assert not Quantized().reads_query
    assert Quantized(policy="deep_forcing").period(WAN) == registry.strategy("deep_forcing").period(WAN) > 1
    assert Quantized(policy="longlive_rag").archive_bytes(WAN, 99) < registry.strategy("longlive_rag").archive_bytes(
        WAN, 99
    )
    assert Quantized(policy="memrope").position_limit(WAN) == 12
    bench = Workbench(Quantized(policy="videomla"))
    assert Quantized(policy="videomla").weights(bench.backbone) == registry.strategy("videomla").weights(bench.backbone)


@pytest.mark.nightly
@pytest.mark.parametrize("text", ["quantized.store=int4", "quantized.policy=memrope,exact_sink=true,exact_recent=true"])
def test_it_runs_compiled_and_in_either_lifetime(text: str) -> None:
    bench = Workbench(registry.parse_strategy(text)[1])
    plain = bench.latents(6)
    assert all(map(torch.equal, plain, bench.latents(6, layout="pass")))
    for ours, theirs in zip(bench.latents(6, compile=True), plain, strict=True):
        assert (ours - theirs).abs().max() < 2e-5


def test_a_memory_that_clones_by_itself_sees_rounded_frames_and_keeps_them_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its values are those of a packed memory; that its bytes are not, verify says."""

    class Cloning(FrameCache):
        def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
            super().remember(layer, entries.map(Tensor.clone), query, at)

    @dataclass(frozen=True, kw_only=True)
    class Theirs(SlidingWindow):
        def open(self, spec: MemorySpec) -> Memory:
            return Cloning(spec, window=self.window, positions="relative")

    monkeypatch.setattr(registry, "name_of", lambda strategy: "theirs")
    bench = Workbench(Quantized(policy=Theirs(window=9)))
    ours = Workbench(Quantized(policy="sliding_window.window=9"), bench.backbone)
    assert all(map(torch.equal, bench.latents(5), ours.latents(5)))
    (broken,) = [found for found in verify(bench.strategy) if found.state == "fail"]
    assert broken.invariant == "planned bytes = allocated bytes"
