"""Calls of a memory's hooks and their arguments; memories that choose by latents or by text can use them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.memory import At, Context, Entries, Memory, MemorySpec, PromptSwitch, Strategy
from harness.memory.frames import FrameCache
from harness.memory.proxy import Watched
from harness.registry import strategy
from harness.verify import byte_invariants, invariants
from harness.verify.bench import CONFIG, LATENT_SIZE, Workbench

LAYERS = CONFIG.num_layers


class Recorder(Watched):
    """Writes down all calls, in order."""

    def __init__(self, calls: list[tuple[Any, ...]], inner: Memory) -> None:
        super().__init__(inner)
        self.calls = calls

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        self.calls.append(("recall", at, layer))
        return super().recall(layer, query, at)

    def begin_commit(self, at: At) -> None:
        self.calls.append(("begin_commit", at))
        super().begin_commit(at)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        self.calls.append(("remember", at, layer))
        super().remember(layer, entries, query, at)

    def see(self, latents: Tensor, at: At) -> None:
        self.calls.append(("see", at, latents.clone()))
        super().see(latents, at)

    def hear(self, prompt: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.calls.append(("hear", None, prompt))
        super().hear(prompt)

    def forget(self, switch: PromptSwitch) -> None:
        self.calls.append(("forget", None, switch.start))
        super().forget(switch)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.calls.append(("load_state_dict",))
        super().load_state_dict(state)


def recorder() -> tuple[list[tuple[Any, ...]], Callable[[Memory], Memory]]:
    """Where calls are written down, and a `watch` for the workbench that does so."""
    calls: list[tuple[Any, ...]] = []
    return calls, lambda memory: Recorder(calls, memory)


def recalls(start: int, frames: int, index: int, commit: bool) -> list[tuple[Any, ...]]:
    return [("recall", At(start, frames, index, commit), layer) for layer in range(LAYERS)]


def commits(start: int, frames: int, index: int) -> list[tuple[Any, ...]]:
    at = At(start, frames, index, commit=True)
    return [("begin_commit", at), *(("remember", at, layer) for layer in range(LAYERS))]


@pytest.mark.parametrize("layout", ["chunk", "pass"])
@pytest.mark.parametrize("reads_query", [False, True])
def test_the_order_of_all_calls(layout: str, reads_query: bool) -> None:
    """Initial latents, a chunk, a switch with a replay, and a chunk whose state is taken."""
    chosen = strategy("attention_sink", window=9, sink=1, on_switch="recache")
    object.__setattr__(chosen, "reads_query", reads_query)
    bench = Workbench(chosen)
    calls, watch = recorder()
    initial = torch.randn(1, 3, CONFIG.in_dim, *LATENT_SIZE, generator=torch.Generator().manual_seed(0))
    *_, last = bench.roll(3, watch=watch, initial=initial, switches=bench.switches(2), layout=layout)
    last.state()
    # What is heard and seen is compared below.
    order = [call[:2] if call[0] in ("hear", "see") else call for call in calls]
    assert order == [
        ("hear", None),
        *recalls(0, 3, 0, commit=True),
        *commits(0, 3, 0),
        ("see", At(0, 3, 0, commit=True)),
        *recalls(3, 3, 0, commit=False),
        *commits(3, 3, 4),
        ("see", At(3, 3, 4, commit=True)),
        ("hear", None),
        ("forget", None, 6),
        *recalls(0, 6, 0, commit=True),
        *commits(0, 6, 0),
        *recalls(6, 3, 0, commit=False),
        *commits(6, 3, 4),
        ("see", At(6, 3, 4, commit=True)),
    ]


def test_what_is_seen_are_the_clean_latents_of_every_row() -> None:
    bench = Workbench(strategy("sliding_window", window=6))
    calls, watch = recorder()
    chunks = []
    for chunk in bench.roll(4, watch=watch, seeds=(4, 5)):
        chunks.append(chunk.latents)
        chunk.state()
    seen = [call[2] for call in calls if call[0] == "see"]
    assert [x.shape for x in seen] == [(2, 3, CONFIG.in_dim, *LATENT_SIZE)] * 4
    assert all(map(torch.equal, seen, chunks))


def test_initial_and_forced_latents_are_seen_as_they_were_given() -> None:
    bench = Workbench(strategy("sliding_window", window=6))
    given = torch.randn(1, 9, CONFIG.in_dim, *LATENT_SIZE, generator=torch.Generator().manual_seed(0))
    for options in ({"initial": given[:, :6]}, {"forced": given}):
        calls, watch = recorder()
        bench.latents(3, watch=watch, **options)
        seen = torch.cat([call[2] for call in calls if call[0] == "see"], 1)
        assert torch.equal(seen, given[:, :6])


def test_what_is_heard_are_all_layers_keys_and_values_of_the_active_prompt() -> None:
    bench = Workbench(strategy("sliding_window", window=6))
    calls, watch = recorder()
    switches = bench.switches(1, 2, rows=2)
    bench.latents(3, watch=watch, seeds=(4, 5), switches=switches)
    heard = [call[2] for call in calls if call[0] == "hear"]
    said = [bench.prompt(4, 5), *(cue.embeddings for cue in switches)]
    assert len(heard) == len(said) == 3
    for ours, prompts in zip(heard, said, strict=True):
        theirs = bench.backbone.model.embed_prompt(prompts)
        assert len(ours) == LAYERS
        for pair, expected in zip(ours, theirs, strict=True):
            shape = (2, CONFIG.text_len, CONFIG.num_heads, CONFIG.head_dim)
            assert [x.shape for x in pair] == [shape] * 2
            assert all(map(torch.equal, pair, expected))


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_a_resumed_rollout_hears_the_prompt_of_its_scene_and_goes_on(stop: int) -> None:
    bench = Workbench(strategy("sliding_window", window=6))
    switches = bench.switches(1, 3)
    calls, watch = recorder()
    state, before = None, 0
    for chunk in bench.roll(5, watch=watch, switches=switches):
        if chunk.index == stop:
            state, before = chunk.state(), len(calls)
    again, watch = recorder()
    bench.latents(5, watch=watch, switches=switches, resume=state)
    assert [call[0] for call in again[:2]] == ["load_state_dict", "hear"]
    spoken = [bench.prompt(0), switches[0].embeddings][stop >= 1]
    for pair, expected in zip(again[1][2], bench.backbone.model.embed_prompt(spoken), strict=True):
        assert all(map(torch.equal, pair, expected))
    rest = calls[before:]
    assert [call[:2] for call in again[2:]] == [call[:2] for call in rest]
    for ours, theirs in zip(again[2:], rest, strict=True):
        assert ours[0] != "see" or torch.equal(ours[2], theirs[2])


class OwnOnly(FrameCache):
    """A memory that was written before there were these hooks."""


def test_a_memory_without_the_hooks_draws_the_same() -> None:
    bench = Workbench(strategy("sliding_window", window=6))
    other = bench.latents(4, watch=lambda _: OwnOnly(bench.spec(), window=6))
    assert all(map(torch.equal, other, bench.latents(4, watch=lambda _: FrameCache(bench.spec(), window=6))))


@dataclass(frozen=True, kw_only=True)
class ByLatents(Strategy):
    """A window, and the frame that left it whose mean latent is nearest to that of the latest frame."""

    paper = "https://arxiv.org/abs/2606.02553"
    bounded = False
    window: int = 6

    def open(self, spec: MemorySpec) -> Memory:
        return _ByLatents(spec, self.window)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        return spec.bytes(frames * spec.frame_tokens) + frames * spec.batch * CONFIG.in_dim * spec.dtype.itemsize


class _ByLatents(FrameCache):
    def __init__(self, spec: MemorySpec, window: int) -> None:
        super().__init__(spec, window=window, positions="relative")
        self.capacity = window - spec.chunk + 1
        self.room = window - spec.chunk
        self.archive: list[dict[int, Entries]] = [{} for _ in range(spec.layers)]
        self.descriptors: list[Tensor] = []
        self.chosen: list[int] = []
        """A frame for each row."""

    def trim(self, layer: int) -> None:
        kept = self.kept[layer]
        ids = list(kept)[: max(0, len(kept) - self.room)]
        gone = [entries.map(Tensor.clone) for entries in self.drop(layer, ids)]
        self.archive[layer].update(zip(ids, gone, strict=True))

    def see(self, latents: Tensor, at: At) -> None:
        self.descriptors += [x.clone() for x in latents.mean((3, 4)).unbind(1)]
        ids = list(self.archive[0])
        if ids:
            known = torch.nn.functional.normalize(torch.stack([self.descriptors[frame] for frame in ids], 1), dim=-1)
            asked = torch.nn.functional.normalize(self.descriptors[-1], dim=-1)
            self.chosen = [ids[best] for best in (known * asked[:, None]).sum(-1).argmax(1).tolist()]

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        kept = tuple(self.kept[layer].values())
        if not self.chosen:
            return Context(kept, range(len(kept)), len(kept))
        frames = [self.archive[layer][frame].tensors for frame in self.chosen]
        rows = [[x[row : row + 1] for x in tensors] for row, tensors in enumerate(frames)]
        found = Entries(*map(torch.cat, zip(*rows, strict=True)))
        return Context((found, *kept), range(len(kept) + 1), len(kept) + 1)

    def stored(self) -> Iterable[Tensor]:
        archived = [x for frames in self.archive for entries in frames.values() for x in entries.tensors]
        return [*super().stored(), *archived, *self.descriptors]

    def state_dict(self) -> dict[str, Any]:
        archive = [{frame: list(entries.tensors) for frame, entries in frames.items()} for frames in self.archive]
        return super().state_dict() | {"archive": archive, "descriptors": self.descriptors, "chosen": self.chosen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.archive = [{frame: Entries(*x) for frame, x in frames.items()} for frames in state["archive"]]
        self.descriptors, self.chosen = list(state["descriptors"]), list(state["chosen"])


@dataclass(frozen=True, kw_only=True)
class ByText(Strategy):
    """A window, and of the frames that left it the one whose keys fit the prompt best, in each layer and row."""

    paper = "https://arxiv.org/abs/2512.14699"
    window: int = 6

    def open(self, spec: MemorySpec) -> Memory:
        return _ByText(spec, self.window)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        kept = min(frames, self.window - spec.chunk + 1)
        asked = spec.layers * spec.batch * CONFIG.dim * spec.dtype.itemsize
        return spec.bytes(kept * spec.frame_tokens) + asked


class _ByText(FrameCache):
    def __init__(self, spec: MemorySpec, window: int) -> None:
        super().__init__(spec, window=window, positions="relative")
        self.capacity = window - spec.chunk + 1
        self.room = window - spec.chunk
        self.asked: list[Tensor] = []
        self.bank: dict[int, Entries] = {}

    def hear(self, prompt: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.asked = [keys.mean(1) for keys, _ in prompt]

    def score(self, layer: int, entries: Entries) -> Tensor:
        """How well a frame fits the prompt, [B]."""
        return (self.spec.layout.keys(entries).mean((1, 2)) * self.asked[layer]).sum((1, 2))

    def trim(self, layer: int) -> None:
        kept = self.kept[layer]
        for gone in self.drop(layer, list(kept)[: max(0, len(kept) - self.room)]):
            best = self.bank.setdefault(layer, gone)
            better = (self.score(layer, gone) > self.score(layer, best)).view(-1, 1, 1, 1, 1)
            pairs = zip(gone.tensors, best.tensors, strict=True)
            self.bank[layer] = Entries(*(torch.where(better, new, old) for new, old in pairs))

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        bank = (self.bank[layer],) if layer in self.bank else ()
        slots = (*bank, *self.kept[layer].values())
        return Context(slots, range(len(slots)), len(slots))

    def stored(self) -> Iterable[Tensor]:
        return [*super().stored(), *self.asked, *(x for entries in self.bank.values() for x in entries.tensors)]

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"bank": {layer: list(entries.tensors) for layer, entries in self.bank.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.bank = {layer: Entries(*tensors) for layer, tensors in state["bank"].items()}


@pytest.mark.parametrize("chosen", [ByLatents(), ByText()], ids=["by latents", "by text"])
@pytest.mark.parametrize(
    "invariant",
    [
        invariants.prefix_causality,
        invariants.evicted_not_read,
        invariants.share_nothing,
        invariants.resume_anywhere,
        invariants.batch_of_two,
        byte_invariants.planned_bytes,
    ],
)
def test_memories_that_choose_by_latents_or_by_text_keep_the_invariants(
    chosen: Strategy, invariant: Callable[[Workbench], str]
) -> None:
    assert invariant(Workbench(chosen))


def test_a_memory_that_keeps_what_it_only_sees_is_found_out() -> None:
    class Aliased(_ByLatents):
        def see(self, latents: Tensor, at: At) -> None:
            super().see(latents, at)
            self.descriptors[-1] = latents[:, -1, :, 0, 0]

    class Forgetful(ByLatents):
        def open(self, spec: MemorySpec) -> Memory:
            return Aliased(spec, self.window)

    with pytest.raises(invariants.BrokenError, match="lent"):
        invariants.evicted_not_read(Workbench(Forgetful()))


def test_another_prompt_makes_another_choice() -> None:
    """What was heard at a switch decides what is kept from then on; layer 0 has the same frames to choose from."""
    bench = Workbench(ByText())
    banks = []
    for seed in range(4):
        opened: list[_ByText] = []

        def caught(memory: Memory, opened: list[_ByText] = opened) -> Memory:
            assert isinstance(memory, _ByText)
            opened.append(memory)
            return memory

        given = torch.randn(1, 30, CONFIG.in_dim, *LATENT_SIZE, generator=torch.Generator().manual_seed(0))
        list(bench.roll(10, watch=caught, forced=given, switches=[(3, 9 * bench.prompt(seed), "smooth")]))
        banks.append(opened[0].bank[0].tensors[0])
    assert not all(torch.equal(bank, banks[0]) for bank in banks)
