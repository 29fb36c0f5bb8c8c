from __future__ import annotations

import copy
import io
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from harness.backbone.presets import Backbone, scramble
from harness.backbone.sampler import Sampler
from harness.backbone.wan import CausalWan, WanConfig
from harness.errors import ResumeError
from harness.measure.counting import weighed
from harness.memory import At, Context, Entries, Memory, PromptSwitch, Strategy
from harness.memory.proxy import Watched
from harness.registry import found, strategy_class
from harness.rollout import Chunk, rollout
from harness.rollout.noise import Noise, PairedNoise
from harness.rollout.state import State
from harness.verify.bench import CONFIG, LATENT_SIZE, Workbench
from strategies.attention_sink import AttentionSink
from strategies.deep_forcing import DeepForcing
from strategies.full import Full
from strategies.infinity_rope import InfinityRope
from strategies.memflow import MemFlow
from strategies.memrope import MemRoPE
from strategies.sliding_window import SlidingWindow
from tests.heads import prepared
from tests.lanes import pushed

BOUNDED: list[Strategy] = [
    *(
        prepared(name, CONFIG.num_layers, CONFIG.num_heads)
        for name in found("strategies")
        if strategy_class(name).bounded
    ),
    SlidingWindow(window=8, positions="absolute"),
    AttentionSink(window=9, sink=4, positions="absolute", on_switch="recache"),
    InfinityRope(window=8, sink=2, pinned_at=21),
    MemRoPE(window=9, pooling="position", accumulator="cache"),
    MemRoPE(window=9, pooling="adaptive"),
    MemRoPE(window=9, init="paper"),
]
PUSHED = [chosen for chosen in BOUNDED if isinstance(chosen, DeepForcing | MemFlow)]
"""Strategies of which a push makes long rollouts: those whose contexts change most."""
ALL = [Full(), *BOUNDED]
A_FEW = [Full(), AttentionSink(window=8, sink=1, on_switch="recache"), InfinityRope(), MemRoPE(window=9)]


def model(config: WanConfig = CONFIG) -> CausalWan:
    return scramble(CausalWan(config)).requires_grad_(False)


def video(backbone: Backbone | CausalWan, chosen: Strategy, latent_frames: int, **changes: Any) -> Iterator[Chunk]:
    options: dict[str, Any] = {
        "prompts": Workbench.prompt(0),
        "latent_size": LATENT_SIZE,
        "noise": Workbench.noise(0),
    } | changes
    return rollout(backbone, chosen, latent_frames=latent_frames, **options)


def equal(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


@dataclass
class Recorded:
    """Noise, and what was asked of it; numbers of chunks are `skipped` higher inside than outside."""

    noise: Noise
    skipped: int = 0

    def __post_init__(self) -> None:
        self.asked: list[tuple[int, int | None, tuple[int, ...]]] = []

    def initial(self, chunk: int, shape: torch.Size) -> Tensor:
        self.asked.append((chunk, None, tuple(shape)))
        return self.noise.initial(chunk + self.skipped, shape)

    def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
        self.asked.append((chunk, step, tuple(shape)))
        return self.noise.renoise(chunk + self.skipped, step, shape)


class Verbs(Watched):
    """What a memory was asked to do, in order."""

    def __init__(self, inner: Memory) -> None:
        super().__init__(inner)
        self.calls: list[tuple[str, int, At]] = []

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        self.calls.append(("recall", layer, at))
        return super().recall(layer, query, at)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        assert entries.frames == at.frames
        self.calls.append(("remember", layer, at))
        super().remember(layer, entries, query, at)


def watching(kind: type[Watched]) -> tuple[list[Any], Callable[[Memory], Memory]]:
    """A `watch` for the workbench, and where the memory that it makes can be found."""
    made: list[Any] = []

    def watch(memory: Memory) -> Memory:
        made.append(kind(memory))
        return made[-1]

    return made, watch


def test_chunks_are_numbered_and_placed() -> None:
    noise = Recorded(Workbench.noise(0))
    chunks = list(video(model(), Full(), 9, noise=noise))
    assert [(chunk.index, chunk.start, chunk.latents.shape) for chunk in chunks] == [
        (number, 3 * number, (1, 3, CONFIG.in_dim, *LATENT_SIZE)) for number in range(3)
    ]
    shape = (1, 3, CONFIG.in_dim, *LATENT_SIZE)
    assert noise.asked == [(chunk, step, shape) for chunk in range(3) for step in (None, 0, 1, 2)]


@pytest.mark.parametrize(
    ("chunk", "first", "frames", "lengths"),
    [
        (1, False, 4, [1, 1, 1, 1]),
        (1, True, 3, [1, 1, 1]),
        (2, False, 4, [2, 2]),
        (3, True, 7, [1, 3, 3]),
        (4, True, 1, [1]),
        (4, True, 9, [1, 4, 4]),
    ],
)
@pytest.mark.parametrize("chosen", [Full(), AttentionSink(window=6, sink=1), MemRoPE(window=8, sink=1)], ids=repr)
def test_chunks_of_other_lengths(chosen: Strategy, chunk: int, first: bool, frames: int, lengths: list[int]) -> None:
    noise = Recorded(Workbench.noise(0))
    backbone = Backbone(model=model(), chunk=chunk, independent_first_frame=first)
    chunks = list(video(backbone, chosen, frames, noise=noise))
    assert [one.latents.shape[1] for one in chunks] == lengths
    assert [one.start for one in chunks] == [sum(lengths[:number]) for number in range(len(lengths))]
    assert [shape[1] for _, step, shape in noise.asked if step is None] == lengths
    assert all(one.latents.isfinite().all() for one in chunks)


def test_a_bare_model_is_a_backbone() -> None:
    bare = model()
    assert equal(
        [chunk.latents for chunk in video(bare, Full(), 6)],
        [chunk.latents for chunk in video(Backbone(model=bare, sampler=Sampler(), chunk=3), Full(), 6)],
    )


def test_a_chunk_is_yielded_before_it_is_committed() -> None:
    """Latents are out as soon as they are final; the last chunk is committed only if its state is asked for."""
    bench = Workbench(Full())
    made, watch = watching(Verbs)
    chunks = iter(bench.roll(2, watch=watch))

    def committed() -> list[int]:
        return [at.start for verb, layer, at in made[0].calls if verb == "remember" and layer == 0]

    next(chunks)
    assert committed() == []
    last = next(chunks)
    assert committed() == [0]
    assert list(chunks) == []
    assert committed() == [0]
    last.state()
    assert committed() == [0, 3]


def test_verbs_of_a_chunk() -> None:
    """Recall of all layers in the first pass; remember in the clean one, after the denoising ones."""
    bench = Workbench(Full())
    made, watch = watching(Verbs)
    *_, last = bench.roll(2, watch=watch)
    last.state()
    assert made[0].calls == [
        (verb, layer, at)
        for start in (0, 3)
        for verb, at in (("recall", At(start, 3, 0, commit=False)), ("remember", At(start, 3, 4, commit=True)))
        for layer in (0, 1)
    ]


def test_context_noise_is_told_to_the_commit_pass_only() -> None:
    """The latents are not noised: the first chunk is the same, the second sees other entries."""
    plain, noisy = (
        [chunk.latents for chunk in video(Backbone(model=model(), sampler=Sampler(context_noise=t)), Full(), 6)]
        for t in (0.0, 100.0)
    )
    assert torch.equal(plain[0], noisy[0])
    assert not torch.allclose(plain[1], noisy[1], atol=1e-4)


def test_a_chunk_is_the_callers() -> None:
    """It may be changed in place, before its commit pass, too."""
    bench = Workbench(AttentionSink(window=8, sink=1, on_switch="recache"))
    switches = bench.switches(2)
    whole = bench.latents(switches=switches)
    for number, chunk in enumerate(bench.roll(switches=switches)):
        assert torch.equal(chunk.latents, whole[number])
        chunk.latents.fill_(torch.nan)


@pytest.mark.parametrize("chosen", ALL, ids=repr)
def test_layouts_compute_the_same_bits(chosen: Strategy) -> None:
    bench = Workbench(chosen)
    switches = bench.switches(1, bench.chunks - 3, bench.chunks - 1)
    by_chunk, by_pass = (bench.latents(layout=layout, switches=switches) for layout in ("chunk", "pass"))
    assert equal(by_pass, by_chunk)


def test_global_random_numbers_are_left_alone() -> None:
    made = model()
    before = torch.get_rng_state()
    list(video(made, MemRoPE(), 15))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_rollout_may_be_left_early() -> None:
    bench = Workbench(AttentionSink(window=8, sink=1))
    whole = bench.latents()
    chunks = iter(bench.roll())
    assert isinstance(chunks, Generator)
    first, second = next(chunks), next(chunks)
    chunks.close()
    assert list(chunks) == []
    with pytest.raises(ResumeError, match="chunk 0 is no longer the latest"):
        first.state()
    # What was yielded last can still be gone on from, and nothing is left behind for others to trip over.
    assert equal(bench.latents(resume=second.state()), whole[2:])
    assert equal(bench.latents(), whole)


def test_an_interrupted_chunk_is_made_again() -> None:
    """Noise that fails once; the state of the chunk before it is still good."""

    class Failing(Recorded):
        def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
            if (chunk, step) == (3, 1):
                raise KeyboardInterrupt
            return super().renoise(chunk, step, shape)

    for chosen in A_FEW:
        bench = Workbench(chosen)
        switches = bench.switches(2, 3)
        whole = bench.latents(switches=switches)
        chunks = iter(bench.roll(switches=switches, noise=Failing(bench.noise(0))))
        *_, latest = (next(chunks) for _ in range(3))
        with pytest.raises(KeyboardInterrupt):
            next(chunks)
        assert equal(bench.latents(switches=switches, resume=latest.state()), whole[3:])


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("outside", [False, True])
def test_grad_mode_stays_the_callers(grad: bool, outside: bool) -> None:
    bench = Workbench(MemRoPE(window=9))
    with torch.set_grad_enabled(outside):
        chunks = bench.roll(grad=grad, switches=bench.switches(2))
        assert torch.is_grad_enabled() == outside
        for number, chunk in enumerate(chunks):
            assert torch.is_grad_enabled() == outside
            if number % 2:
                chunk.state()
                assert torch.is_grad_enabled() == outside
        assert torch.is_grad_enabled() == outside


def test_grad_mode_is_restored_after_an_error() -> None:
    class Broken(Watched):
        def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
            raise RuntimeError("broken")

    chunks = iter(Workbench(Full()).roll(watch=Broken))
    next(chunks)
    with pytest.raises(RuntimeError, match="broken"):
        next(chunks)
    assert torch.is_grad_enabled()


def test_weights_that_need_gradients_do_not_keep_a_graph() -> None:
    """Without grad=True nothing is kept for training, whatever the model and the caller say."""
    trainable = scramble(CausalWan(CONFIG))
    for chunk in video(trainable, MemRoPE(window=9), 15):
        assert not chunk.latents.requires_grad
        assert not any(x.requires_grad for x in tree_leaves(chunk.state()) if isinstance(x, Tensor))


def test_a_state_carries_no_graph() -> None:
    trainable = scramble(CausalWan(CONFIG))
    for chunk in video(trainable, MemRoPE(window=9), 15, grad=True):
        assert chunk.latents.requires_grad
        assert not any(x.requires_grad for x in tree_leaves(chunk.state()) if isinstance(x, Tensor))


@pytest.mark.parametrize("chosen", ALL, ids=repr)
@pytest.mark.parametrize("given", [1, 2, 4])
def test_a_continuation_is_the_rest_of_the_video(chosen: Strategy, given: int) -> None:
    """A rollout whose first chunks are given goes on as the one that made them, given the same later noise; prompt
    switches among the given chunks and after them included. Noise counts generated chunks from 0."""
    bench = Workbench(chosen)
    switches = bench.switches(*sorted({1, given, 5}))
    whole = bench.latents(switches=switches)
    start = torch.cat(whole[:given], 1)
    noise = Recorded(bench.noise(0), skipped=given)
    kept = start.clone()
    rest = list(bench.roll(switches=switches, initial=start, noise=noise))
    assert equal([chunk.latents for chunk in rest], whole[given:])
    assert [(chunk.index, chunk.start) for chunk in rest] == [(n, 3 * (n + given)) for n in range(len(rest))]
    assert [chunk for chunk, step, _ in noise.asked if step is None] == list(range(len(rest)))
    assert torch.equal(start, kept)


def test_a_continuation_after_an_independent_first_frame() -> None:
    backbone = Backbone(model=model(), independent_first_frame=True)
    chosen = AttentionSink(window=6, sink=1)
    whole = [chunk.latents for chunk in video(backbone, chosen, 13)]
    for given in (1, 2, 4):
        start = torch.cat(whole[:given], 1)
        noise = Recorded(Workbench.noise(0), skipped=given)
        rest = list(video(backbone, chosen, 13, initial=start, noise=noise))
        assert equal([chunk.latents for chunk in rest], whole[given:])


def test_initial_latents_are_committed_chunk_by_chunk() -> None:
    """Their only pass is the clean one, which recalls."""
    bench = Workbench(Full())
    made, watch = watching(Verbs)
    next(iter(bench.roll(4, watch=watch, initial=torch.zeros(1, 6, CONFIG.in_dim, *LATENT_SIZE))))
    expected = [
        (verb, layer, At(start, 3, 0, commit=True))
        for start in (0, 3)
        for verb in ("recall", "remember")
        for layer in (0, 1)
    ]
    assert made[0].calls[:8] == expected
    assert made[0].calls[8] == ("recall", 0, At(6, 3, 0, commit=False))


def test_initial_latents_are_cast() -> None:
    bench = Workbench(Full())
    start = bench.latents(1)[0].to(torch.bfloat16)
    exact, cast = (bench.latents(3, initial=x) for x in (start.float(), start))
    assert equal(exact, cast)


def states(chunks: Iterator[Chunk], at: int) -> tuple[State, list[Tensor]]:
    """The state after chunk `at`, and the latents of what comes after."""
    for chunk in chunks:
        if chunk.index == at:
            return chunk.state(), [later.latents for later in chunks]
    raise AssertionError("the rollout ended early")


def spoil(state: State) -> None:
    """Write into all of a state but the archive, which only grows and is not copied."""
    for x in tree_leaves({part: value for part, value in state.items() if part != "archive"}):
        if isinstance(x, Tensor):
            x.fill_(torch.nan if x.is_floating_point() else 1)


@pytest.mark.parametrize("chosen", ALL, ids=repr)
def test_a_state_is_a_copy(chosen: Strategy) -> None:
    """What is done to it does not reach the rollout, and what the rollout does later does not reach it."""
    bench = Workbench(chosen)
    switches = bench.switches(2, 5)
    whole = bench.latents(switches=switches)
    for number, chunk in enumerate(bench.roll(switches=switches)):
        spoil(chunk.state())
        assert torch.equal(chunk.latents, whole[number])
        if number == 3:
            early = chunk.state()
            before = copy.deepcopy(early)
    for ours, theirs in zip(tree_leaves(early), tree_leaves(before), strict=True):
        assert torch.equal(ours, theirs) if isinstance(ours, Tensor) else ours == theirs
    # Going on from it, twice, does not use it up, and it is not needed once that has begun.
    assert equal(bench.latents(switches=switches, resume=early), whole[4:])
    begun = bench.roll(switches=switches, resume=early)
    spoil(early)
    assert equal([chunk.latents for chunk in begun], whole[4:])


def test_a_state_is_plain_data() -> None:
    """torch.save writes it, and the loader that runs no code reads it back."""
    bench = Workbench(MemRoPE(window=9))
    state, rest = states(iter(bench.roll()), 4)
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    assert equal(bench.latents(resume=torch.load(file, weights_only=True)), rest)


def test_a_state_is_refused_after_going_on() -> None:
    chunks = list(Workbench(Full()).roll(3))
    for chunk in chunks[:-1]:
        with pytest.raises(ResumeError, match=rf"chunk {chunk.index} is no longer the latest"):
            chunk.state()
    assert chunks[-1].state()["start"] == 9


def test_a_finished_video_can_be_made_longer() -> None:
    """The state after the last chunk, which the rollout itself never commits."""
    for chosen in A_FEW:
        bench = Workbench(chosen)
        *_, last = bench.roll(5)
        state = last.state()
        assert list(bench.roll(5, resume=state)) == []
        assert equal(bench.latents(8, resume=state), bench.latents(8)[5:])


def test_a_state_of_a_continuation() -> None:
    bench = Workbench(AttentionSink(window=8, sink=1))
    start = torch.cat(bench.latents(2), 1)
    state, rest = states(iter(bench.roll(initial=start)), 1)
    assert equal(bench.latents(initial=start, resume=state), rest)


def test_asking_for_a_state_changes_nothing() -> None:
    for chosen in A_FEW:
        bench = Workbench(chosen)
        asked = []
        for chunk in bench.roll(switches=bench.switches(3)):
            chunk.state()
            asked.append(chunk.latents)
        assert equal(asked, bench.latents(switches=bench.switches(3)))


OTHER_CONFIG = WanConfig(**vars(CONFIG) | {"eps": 1e-5})


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("strategy", {"chosen": AttentionSink(window=9, sink=2)}),
        ("strategy", {"chosen": SlidingWindow(window=9)}),
        ("config", {"backbone": Backbone(model=model(OTHER_CONFIG))}),
        ("dtype", {"backbone": Backbone(model=scramble(CausalWan(CONFIG)).double())}),
        ("batch", {"prompts": Workbench.prompt(0, 1), "noise": Workbench.noise(0, 1)}),
        ("latent_size", {"latent_size": (4, 6)}),
        ("chunk", {"backbone": Backbone(model=model(), chunk=2)}),
        ("chunk", {"backbone": Backbone(model=model(), independent_first_frame=True), "latent_frames": 13}),
    ],
)
def test_a_state_of_another_rollout(what: str, changes: dict[str, Any]) -> None:
    """Refused at the call, with what differs and how."""
    backbone, chosen = Backbone(model=model()), AttentionSink(window=9, sink=1)
    state = next(video(backbone, chosen, 12)).state()
    options: dict[str, Any] = {"backbone": backbone, "chosen": chosen, "latent_frames": 12} | changes
    with pytest.raises(ResumeError) as caught:
        video(**options, resume=state)
    message = str(caught.value)
    assert f"of another rollout: {what} is" in message
    assert repr(state["fingerprint"][what]) in message
    assert "\n" not in message


def test_states_that_the_video_has_no_place_for() -> None:
    bench = Workbench(Full())
    state, _ = states(iter(bench.roll(5)), 3)
    with pytest.raises(ResumeError, match="12 latent frames into its video; 9 were asked for"):
        bench.roll(3, resume=state)
    state, _ = states(iter(bench.roll(5, switches=bench.switches(1, 2))), 3)
    with pytest.raises(ResumeError, match="in scene 2; 2 are given"):
        bench.roll(5, resume=state, switches=bench.switches(1))


@pytest.mark.parametrize("part", ["fingerprint", "start", "index", "scene", "past", "memory"])
def test_a_state_that_lacks_a_part(part: str) -> None:
    bench = Workbench(Full())
    state, _ = states(iter(bench.roll(3)), 0)
    del state[part]
    with pytest.raises(ResumeError, match=f"lacks {part}$"):
        bench.roll(3, resume=state)


class Looking(Verbs):
    """A memory that looks back `frames` frames at a switch, and keeps what it was told."""

    frames = 0

    def __init__(self, inner: Memory) -> None:
        super().__init__(inner)
        self.lookback = self.frames
        self.switches: list[PromptSwitch] = []

    def forget(self, switch: PromptSwitch) -> None:
        self.switches.append(switch)
        self.calls.append(("forget", -1, At(switch.start, 0, 0, commit=False)))
        super().forget(switch)


def looking(frames: int) -> type[Looking]:
    return type("LookingBack", (Looking,), {"frames": frames})


@pytest.mark.parametrize("lookback", [0, 1, 2, 3, 5, 6, 100])
def test_lookback_is_the_last_clean_latents(lookback: int) -> None:
    bench = Workbench(Full())
    made, watch = watching(looking(lookback))
    whole = torch.cat(bench.latents(7, watch=watch, switches=bench.switches(1, 3, 5)), 1)
    assert [switch.start for switch in made[0].switches] == [3, 9, 15]
    for switch in made[0].switches:
        assert torch.equal(switch.latents, whole[:, max(0, switch.start - lookback) : switch.start])


def test_lookback_reaches_into_initial_latents_and_across_a_resume() -> None:
    bench = Workbench(Full())
    start = torch.cat(bench.latents(2), 1)
    made, watch = watching(looking(8))
    switches = bench.switches(1, 3, 5)
    state, rest = states(iter(bench.roll(7, watch=watch, initial=start, switches=switches)), 1)
    bench.latents(7, watch=watch, initial=start, switches=switches, resume=state)
    whole = torch.cat([start, *bench.latents(7, initial=start, switches=switches)], 1)
    for memory, starts in zip(made, ([3, 9, 15], [15]), strict=True):
        assert [switch.start for switch in memory.switches] == starts
        for switch in memory.switches:
            assert torch.equal(switch.latents, whole[:, max(0, switch.start - 8) : switch.start])
    assert equal(rest, list(whole[:, 12:].split(3, 1)))


def test_what_a_memory_is_told_at_a_switch() -> None:
    bench = Workbench(Full())
    made, watch = watching(looking(0))
    first, second, third = (bench.prompt(seed) for seed in (0, 7, 8))

    def encode(texts: Any) -> Tensor:
        raise NotImplementedError

    switches = [(4, second, "hardcut", ["two"]), (9, third, "recall")]
    bench.latents(4, watch=watch, switches=switches, texts=["one"], encode=encode)
    told = made[0].switches
    assert [(switch.start, switch.kind) for switch in told] == [(6, "hardcut"), (9, "recall")]
    assert [(switch.old_texts, switch.new_texts) for switch in told] == [(["one"], ["two"]), (["two"], None)]
    assert all(switch.encode is encode for switch in told)
    for switch, old, new in zip(told, (first, second), (second, third), strict=True):
        assert torch.equal(switch.old_prompts, old)
        assert torch.equal(switch.new_prompts, new)


def test_a_switch_is_heard_before_the_chunk_that_sees_it() -> None:
    """After the commit of the chunk before it, which was still under the old prompt."""
    bench = Workbench(Full())
    made, watch = watching(looking(0))
    list(bench.roll(3, watch=watch, switches=bench.switches(1)))
    order = [(verb, at.start) for verb, layer, at in made[0].calls if layer < 1]
    assert order == [("recall", 0), ("remember", 0), ("forget", 3), ("recall", 3), ("remember", 3), ("recall", 6)]


def test_each_frame_of_a_chunk_asks_for_the_next_boundary() -> None:
    bench = Workbench(AttentionSink())
    prompt = bench.prompt(7)
    asked = {frame: torch.cat(bench.latents(4, switches=[(frame, prompt, "smooth")]), 1) for frame in range(1, 10)}
    plain = torch.cat(bench.latents(4), 1)
    for frame, latents in asked.items():
        boundary = -(-frame // 3) * 3
        assert torch.equal(latents, asked[boundary])
        changed = (latents != plain).flatten(2).any(-1)[0]
        assert changed.tolist() == [number >= boundary for number in range(12)]


class Replaying(Verbs):
    """Forgets everything and commits all that it looks back at again, under the new prompt."""

    part: int | None = None

    def __init__(self, inner: Memory) -> None:
        super().__init__(inner)
        self.lookback = 1000

    def forget(self, switch: PromptSwitch) -> None:
        for layer in range(CONFIG.num_layers):
            self.held(layer).clear()  # type: ignore[attr-defined]
        self.calls.clear()
        switch.replay(switch.latents, 0, self.part)
        self.replayed = list(self.calls)


class BlockCausal(Replaying):
    part = 3


class Ragged(Replaying):
    part = 4


@pytest.mark.parametrize(
    ("kind", "parts"),
    [(Replaying, [(0, 9)]), (BlockCausal, [(0, 3), (3, 3), (6, 3)]), (Ragged, [(0, 4), (4, 4), (8, 1)])],
)
def test_a_replay_recalls_and_remembers(kind: type[Replaying], parts: list[tuple[int, int]]) -> None:
    """One bidirectional commit pass over all, or one for each part: recall of all layers, then remember."""
    bench = Workbench(Full())
    made, watch = watching(kind)
    latents = bench.latents(5, watch=watch, switches=bench.switches(3))
    assert made[0].replayed == [
        (verb, layer, At(start, frames, 0, commit=True))
        for start, frames in parts
        for verb in ("recall", "remember")
        for layer in range(CONFIG.num_layers)
    ]
    assert all(x.isfinite().all() for x in latents)


def entries_after(bench: Workbench, kind: type[Watched], **options: Any) -> list[dict[int, Entries]]:
    """What a memory holds of each layer when the chunk after a switch begins."""
    held: list[dict[int, Entries]] = []

    class Caught(kind):  # type: ignore[misc, valid-type]
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            if at.start == 9 and not at.commit:
                held.append(dict(self.held(layer)))
            return super().recall(layer, query, at)

    bench.latents(4, watch=Caught, **options)
    return held


def test_a_block_causal_replay_under_the_same_prompt_changes_nothing() -> None:
    """The same passes as when the video was made, hence the same bits. One long pass sees more: the first layer's
    entries do not depend on what is seen, the second's do, but for none of the frames less."""
    bench = Workbench(Full())
    same = [(9, bench.prompt(0), "smooth")]
    plain = entries_after(bench, Watched)
    blocks = entries_after(bench, BlockCausal, switches=same)
    long = entries_after(bench, Replaying, switches=same)
    assert len(plain) == len(blocks) == len(long) == 2
    for layer, frames in enumerate(plain):
        assert list(frames) == list(blocks[layer]) == list(long[layer]) == list(range(9))
        for frame, made in frames.items():
            for x, by_block, at_once in zip(
                made.tensors, blocks[layer][frame].tensors, long[layer][frame].tensors, strict=True
            ):
                assert torch.equal(by_block, x)
                # The last three frames saw all nine when they were made.
                agrees = layer == 0 or frame >= 6
                assert torch.allclose(at_once, x, rtol=0, atol=1e-5) == agrees


def test_a_replay_is_under_the_new_prompt() -> None:
    bench = Workbench(Full())
    plain = entries_after(bench, BlockCausal, switches=[(9, bench.prompt(0), "smooth")])
    other = entries_after(bench, BlockCausal, switches=[(9, bench.prompt(7), "smooth")])
    assert torch.equal(plain[0][0].tensors[0], other[0][0].tensors[0])
    assert not torch.equal(plain[1][0].tensors[0], other[1][0].tensors[0])


def test_a_replay_longer_than_the_window() -> None:
    """More frames than a context has room for: computed as if there were, and the memory keeps what it would keep."""
    roomy, narrow = Workbench(Full()), Workbench(SlidingWindow(window=6))
    options = {
        "initial": torch.cat(roomy.latents(3), 1),
        "switches": [(9, roomy.prompt(7), "smooth")],
    }
    every, last = entries_after(roomy, Replaying, **options), entries_after(narrow, Replaying, **options)
    for layer, frames in enumerate(last):
        assert list(frames) == [6, 7, 8]
        for frame, made in frames.items():
            for x, theirs in zip(made.tensors, every[layer][frame].tensors, strict=True):
                torch.testing.assert_close(x, theirs, rtol=0, atol=1e-5)


def test_a_replay_of_nothing() -> None:
    """What a memory without lookback is given to replay."""

    class Idle(Watched):
        def forget(self, switch: PromptSwitch) -> None:
            switch.replay(switch.latents, switch.start)

    bench = Workbench(Full())
    switches = bench.switches(1)
    assert equal(bench.latents(3, watch=Idle, switches=switches), bench.latents(3, switches=switches))


def steady(bench: Workbench) -> int:
    """The first chunk by which every bounded memory here is full and has evicted."""
    return bench.chunks - 3


class Seeing(Watched):
    """Says when latents are seen, where a memory may look at tensors."""

    now = False

    def see(self, latents: Tensor, at: At) -> None:
        Seeing.now = True
        try:
            super().see(latents, at)
        finally:
            Seeing.now = False


def closed(name: str, way: Callable[..., Any]) -> Callable[..., Any]:
    """A way from a tensor's content to Python that is open while latents are seen only."""

    def method(*args: Any, **options: Any) -> Any:
        if Seeing.now:
            return way(*args, **options)
        raise AssertionError(f"Tensor.{name} in the steady state")

    return method


def no_synchronisation() -> pytest.MonkeyPatch:
    """Every way from a tensor's content to Python, closed until undone, but for memories that see latents."""
    patch = pytest.MonkeyPatch()
    for name in ("item", "cpu", "tolist", "numpy", "nonzero", "__bool__", "__float__", "__int__", "__index__"):
        patch.setattr(Tensor, name, closed(name, getattr(Tensor, name)))
    return patch


def run_without_synchronisation(bench: Workbench, **options: Any) -> int:
    """Chunks that were made, commit pass and sampler loop and noise included, without looking at a tensor."""
    watch = options.pop("watch", lambda memory: memory)
    chunks, quiet = iter(bench.roll(bench.chunks + 2, watch=lambda memory: Seeing(watch(memory)), **options)), 0
    for _ in range(steady(bench)):
        next(chunks)
    patch = no_synchronisation()
    try:
        for _ in chunks:
            quiet += 1
    finally:
        patch.undo()
    return quiet


@pytest.mark.parametrize("chosen", BOUNDED, ids=repr)
@pytest.mark.parametrize("layout", ["chunk", "pass"])
def test_the_steady_state_does_not_synchronise(chosen: Strategy, layout: str) -> None:
    assert run_without_synchronisation(Workbench(chosen), layout=layout) == 5


def shapes_only(chosen: Strategy) -> Workbench:
    model = CausalWan(CONFIG).to("meta").requires_grad_(False)
    return Workbench(chosen, Backbone(model=model, sampler=Sampler(steps=(1000, 500)), latent_size=LATENT_SIZE))


@pytest.mark.parametrize("chosen", pushed(BOUNDED, *PUSHED), ids=repr)
def test_a_rollout_needs_shapes_only(chosen: Strategy) -> None:
    """A meta tensor has no content to look at and cannot be moved to the host: all of the video is made without."""
    bench = shapes_only(chosen)
    for chunk in bench.roll(steady(bench) + 1, switches=bench.switches(2)):
        assert chunk.latents.is_meta
        assert chunk.latents.shape == (1, 3, CONFIG.in_dim, *LATENT_SIZE)


PEEKS: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool(x.any()),
    "if": lambda x: 1 if x.any() else 0,
    "float": lambda x: float(x.sum()),
    "list": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "nonzero": lambda x: x.nonzero(),
    "host": lambda x: x.to("cpu", copy=True).cpu(),
    "slice": lambda x: x[: x.argmax()],
}


@pytest.mark.parametrize("peek", PEEKS)
@pytest.mark.parametrize("verb", ["recall", "remember", "noise"])
def test_a_memory_that_synchronises_is_caught(verb: str, peek: str) -> None:
    """By both of the tests above; otherwise they would pass for nothing."""

    class Peeping(Watched):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            context = super().recall(layer, query, at)
            if verb == "recall" and context.slots:
                PEEKS[peek](context.slots[0].tensors[0])
            return context

        def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
            if verb == "remember":
                PEEKS[peek](entries.tensors[0].flatten())
            super().remember(layer, entries, query, at)

    class Peeked(PairedNoise):
        def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
            noise = super().renoise(chunk, step, shape)
            if verb == "noise":
                PEEKS[peek](noise)
            return noise

    options: dict[str, Any] = {"watch": Peeping, "noise": Peeked([(0, "")])}
    with pytest.raises(AssertionError, match="in the steady state"):
        run_without_synchronisation(Workbench(SlidingWindow(window=6)), **options)
    if verb != "noise":
        with pytest.raises((NotImplementedError, RuntimeError, TypeError), match=r"[Mm]eta"):
            shapes_only(SlidingWindow(window=6)).latents(2, **options)


def traffic(bench: Workbench, **options: Any) -> list[tuple[int, int]]:
    """Live and peak bytes of tensors at each chunk once a memory is full, what it holds aside included and its archive
    not."""
    log, opened = [], list[Memory]()
    watch = options.pop("watch", lambda memory: memory)

    def caught(memory: Memory) -> Memory:
        opened.append(watch(memory))
        return opened[0]

    with weighed() as count:
        for chunk in bench.roll(bench.chunks + 6, watch=caught, **options):
            if chunk.index >= bench.chunks:
                archived = opened[0].archive_nbytes()
                log.append((count.live_bytes - archived, count.peak_bytes - archived))
            count.peak_bytes = count.live_bytes
    return log


@pytest.mark.parametrize("chosen", pushed(BOUNDED, *PUSHED), ids=repr)
def test_the_steady_state_does_not_grow(chosen: Strategy) -> None:
    """To the byte: what is alive between chunks, and the most that is inside of one."""
    bench = Workbench(chosen)
    log, period = traffic(bench), chosen.period(bench.spec())
    assert len(log) == 6
    assert log[period:] == log[:-period]
    assert period <= 3
    assert log[0][1] > log[0][0] > 0


def test_contexts_that_all_layers_share_take_less() -> None:
    bench = Workbench(SlidingWindow(window=12))
    by_chunk, by_pass = (traffic(bench, layout=layout)[-1] for layout in ("chunk", "pass"))
    one_context = bench.spec().bytes(12 * bench.spec().frame_tokens) // CONFIG.num_layers
    assert by_chunk[0] - by_pass[0] == one_context * (CONFIG.num_layers - 1)


def test_growth_is_noticed() -> None:
    """By a memory that keeps everything, and by one that lets a single number a chunk leak."""
    leaked: list[Tensor] = []

    class Leaking(Watched):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            leaked.append(torch.zeros(1))
            return super().recall(layer, query, at)

    for log in (traffic(Workbench(Full())), traffic(Workbench(SlidingWindow(window=6)), watch=Leaking)):
        live = [bytes for bytes, _ in log]
        assert live == sorted(set(live))


def test_a_rollout_outlives_the_inference_mode_it_was_asked_for_in() -> None:
    chosen = AttentionSink(window=6, sink=1)
    with torch.inference_mode():
        running = video(Backbone(model=model()), chosen, 15)
    outside = [chunk.latents for chunk in running]
    plain = [chunk.latents for chunk in video(Backbone(model=model()), chosen, 15)]
    assert torch.equal(torch.cat(outside, 1), torch.cat(plain, 1))
