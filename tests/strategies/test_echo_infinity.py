"""Echo-Infinity's mechanisms against plain loops, and what is its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness import registry
from harness.backbone.config import WanConfig
from harness.backbone.presets import Backbone, scramble, wan_1_3b
from harness.backbone.wan import CausalWan
from harness.errors import CheckpointError, KnobError
from harness.memory import At, Context, Entries, Memory
from harness.memory.proxy import Watched, watched
from harness.training.weights import write
from harness.verify.bench import CONFIG, LATENT_SIZE, Workbench
from harness.verify.run import verify
from strategies.echo_infinity import EchoInfinity
from strategies.echo_infinity.encoder import QueryMemoryEncoder, Shape
from strategies.echo_infinity.memory import QueryMemory
from tests.cases import cases
from tests.oracle import echo_infinity as oracle

CASES = cases(25)


def bench(**knobs: Any) -> Workbench:
    return Workbench(EchoInfinity(**knobs))


@CASES
@given(
    sink=st.integers(0, 4),
    local=st.integers(1, 7),
    memory=st.integers(0, 4),
    chunks=st.integers(1, 14),
    reach=st.one_of(st.none(), st.integers(0, 9)),
    update=st.sampled_from(["first_pass", "clean", "never"]),
)
def test_what_each_pass_sees_and_where(
    sink: int, local: int, memory: int, chunks: int, reach: int | None, update: str
) -> None:
    window = sink + local + 3
    limit = window + memory + (reach or 0)
    positions = "absolute" if reach is None else "relative"
    tried = bench(sink=sink, window=window, memory=memory, update=update, reach=limit, positions=positions)
    seen: list[dict[int, tuple[list[int], Any, int]]] = []

    class Watch(Watched):
        updates = 0

        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            inner = self.inner
            assert isinstance(inner, QueryMemory)
            due = inner.due and at.pass_index > 0
            context = super().recall(layer, query, at)
            self.updates += due
            if layer == 1:
                if at.pass_index == 0:
                    seen.append({})
                shown = [slot.frames for slot in context.slots]
                seen[-1][min(at.pass_index, 1)] = (list(context.positions), shown, int(context.start))
            return context

    for chunk in tried.roll(chunks, watch=Watch):
        if chunk.index == chunks - 1:
            break
    expected = oracle.views(chunks, 3, window, sink, memory, None if positions == "absolute" else limit, update)
    for number, (view, passes) in enumerate(zip(expected, seen, strict=True)):
        for which, wanted in ((0, view.first), (1, view.later)):
            if which == 1 and (1 not in passes):
                # Nothing was recalled again, so nothing had changed.
                assert view.first == view.later, number
                continue
            where, frames, start = passes[which]
            assert start == view.own[0]
            heads = min(sink, len(view.frames))
            behind = wanted[0] if wanted else []
            assert where == [*view.positions[:heads], *behind, *view.positions[heads:]], number
            assert sum(frames) == len(view.frames) + len(behind)


@CASES
@given(
    seed=st.integers(0, 2**31),
    heads=st.integers(1, 3),
    channels=st.sampled_from([2, 4]),
    memory=st.integers(1, 2),
    gone=st.integers(1, 4),
    layers=st.integers(1, 2),
)
@torch.no_grad()
def test_an_update_in_plain_loops(seed: int, heads: int, channels: int, memory: int, gone: int, layers: int) -> None:
    config = WanConfig(dim=heads * channels, ffn_dim=4, num_heads=heads, num_layers=1)
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    encoder = QueryMemoryEncoder(config, Shape(frames=memory, tokens=2, layers=layers)).double()
    for weight in encoder.parameters():
        weight.copy_(drawn(*weight.shape) / weight.shape[-1] ** 0.5 + (weight.ndim == 1))
    queries, keys, values = (
        drawn(1, 2 * memory, config.dim),
        drawn(1, gone, heads, channels),
        drawn(1, gone, heads, channels),
    )
    ours = encoder.updated(queries, keys, values, gated=True, residual=False)[0]
    weights = {name: (x if x.ndim == 2 else x[None]).tolist() for name, x in encoder.state_dict().items()}
    theirs = oracle.updated(weights, heads, queries[0].tolist(), keys[0].tolist(), values[0].tolist(), layers)
    assert (ours - torch.tensor(theirs, dtype=torch.float64)).abs().max() < 1e-10


def test_the_published_stages_of_filling() -> None:
    found = oracle.views(9, 3, 12, 3, 3, 21, "first_pass")
    where = {view.frames[-1] + 1 if view.frames else 0: view for view in found}
    assert where[12].own == [12, 13, 14]
    assert where[12].positions == [0, 1, 2, 6, 7, 8, 9, 10, 11]
    assert (where[12].first, where[12].later) == (None, ([3, 4, 5], 1))
    assert where[15].first == ([6, 7, 8], 1)
    assert where[18].positions == [0, 1, 2, 12, 13, 14, 15, 16, 17]
    assert where[21].own == [18, 19, 20]
    assert where[24].first == ([9, 10, 11], 4)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"memory": 0},
        {"update": "clean"},
        {"update": "never"},
        {"groups": 2, "source": "group"},
        {"source": "middle", "sink_anchor": True},
        {"positions": "absolute"},
        {"window": 8, "sink": 1, "memory": 2, "gate": False},
        {"sink": 0, "on_switch": "recache_all", "memory_recache": True, "residual": True},
    ],
)
def test_the_invariants_of_every_memory(knobs: dict[str, Any]) -> None:
    assert [finding for finding in verify(EchoInfinity(**knobs)) if finding.state == "fail"] == []


def test_a_prompt_switch_keeps_the_memory_and_replays_without_it() -> None:
    shown: list[tuple[int, int]] = []

    class Watch(Watched):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            context = super().recall(layer, query, at)
            if layer == 0:
                shown.append((at.frames, sum(slot.frames for slot in context.slots)))
            return context

    for memory_recache in (False, True):
        shown.clear()
        tried = bench(memory_recache=memory_recache)
        tried.latents(9, watch=Watch, switches=tried.switches(7))
        (replay,) = [seen for frames, seen in shown if frames > 3]
        assert replay == (6 if memory_recache else 3)
        after = shown[[frames for frames, _ in shown].index(9) + 1]
        assert after == (3, 12)


def test_poisoned_memory_is_read_by_every_layer_and_by_nothing_before_it_is_there() -> None:
    tried = bench()
    plain = tried.latents(8)

    class Poison(Watched):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            inner = self.inner
            assert isinstance(inner, QueryMemory)
            context = super().recall(layer, query, at)
            return (
                context
                if not inner.memories
                else Context(
                    tuple(
                        Entries(*(x * 1.5 for x in slot.tensors)) if slot is inner.memories[0] else slot
                        for slot in context.slots
                    ),
                    context.positions,
                    context.start,
                )
            )

    other = tried.latents(8, watch=Poison)
    assert [torch.equal(a, b) for a, b in zip(plain, other, strict=True)] == [True] * 4 + [False] * 4


def test_untrained_parameters_say_so_and_a_file_must_fit(tmp_path: Path) -> None:
    tried = bench()
    backbone = tried.backbone
    told = EchoInfinity().weights(backbone)
    assert told is not None
    assert (told.trained, told.about) == (False, "untrained")
    assert EchoInfinity(memory=0).weights(backbone) is None
    path = tmp_path / "own.safetensors"
    module = EchoInfinity().twin(backbone).get_submodule("query_memory_encoder")
    write(module, path, EchoInfinity().purpose(backbone), "trained for a test")
    told = EchoInfinity(parameters=str(path)).weights(backbone)
    assert told is not None
    assert (told.trained, told.about) == (True, "trained for a test")
    with pytest.raises(CheckpointError, match="trained for another purpose: sizes is"):
        EchoInfinity(parameters=str(path), encoder_layers=1).adapt(backbone)
    with pytest.raises(CheckpointError, match=r"no such file; train one with: horizon train echo_infinity"):
        EchoInfinity(parameters="nowhere.safetensors").adapt(backbone)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_published_checkpoint_brings_its_model_strictly(tmp_path: Path, prefix: str) -> None:
    backbone = Backbone(model=scramble(CausalWan(CONFIG)).requires_grad_(False), latent_size=LATENT_SIZE)
    other = scramble(EchoInfinity().twin(backbone), seed=3)
    published = EchoInfinity(parameters=str(tmp_path / "echo.pt"))
    state = {f"{prefix}{name}": x.clone() for name, x in other.state_dict().items()}
    assert f"{prefix}query_memory_encoder.layers.1.ffn.2.weight" in state
    torch.save({"generator_ema": state}, tmp_path / "echo.pt")
    backbone.model.load_state_dict(scramble(CausalWan(CONFIG)).state_dict())
    loaded = published.adapt(backbone).model
    assert all(torch.equal(x, state[prefix + name]) for name, x in loaded.state_dict().items())
    told = published.weights(backbone)
    assert told is not None
    assert (told.trained, told.about) == (True, "published checkpoint echo.pt")
    latents = Workbench(published, backbone).latents(6)
    assert all(x.isfinite().all() for x in latents)
    del state[f"{prefix}query_memory_encoder.to_k.bias"]
    torch.save({"generator_ema": state}, tmp_path / "echo.pt")
    with pytest.raises(CheckpointError, match=r"missing query_memory_encoder\.to_k\.bias"):
        EchoInfinity(parameters=str(tmp_path / "echo.pt")).adapt(
            Backbone(model=scramble(CausalWan(CONFIG)), latent_size=LATENT_SIZE)
        )


def test_the_published_size() -> None:
    module = EchoInfinity().twin(wan_1_3b("meta")).get_submodule("query_memory_encoder")
    parameters = sum(x.numel() for x in module.parameters())
    assert 68.5e6 < parameters < 68.7e6
    assert module.get_parameter("query_init").shape == (4680, 1536)


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"window": 5}, "window 5 is smaller than sink 3"),
        ({"reach": 14}, "reach 14 has no room for a window of 12 and 3 memory frames; raise it to at least 15"),
        ({"groups": 3}, "3 groups of 2 layers; use 1 to 2"),
        ({"groups": 0}, "knob groups = 0 is not allowed"),
    ],
)
def test_what_cannot_be_is_refused(knobs: dict[str, Any], says: str) -> None:
    with pytest.raises(KnobError, match=says):
        bench(**knobs).latents(1)


def test_it_is_refused_on_latents_and_on_frames_of_another_size() -> None:
    with pytest.raises(KnobError, match="policy echo_infinity has layers of its own"):
        registry.strategy("videomla", policy="echo_infinity")
    tried = bench()
    with pytest.raises(KnobError, match="its queries are for frames of 4 tokens, but the spec has 9"):
        EchoInfinity().open(tried.strategy.adapt(tried.backbone).model.memory_spec((3, 3), 3))
    with pytest.raises(KnobError, match="opened for a bare backbone"):
        EchoInfinity().open(tried.backbone.model.memory_spec((2, 2), 3))


def test_watched_memories_are_the_strategys_own() -> None:
    opened: list[Memory] = []
    tried = bench(update="clean")
    twin = watched(tried.strategy, lambda memory: opened.append(memory) or memory)  # type: ignore[func-returns-value]
    Workbench(twin, tried.backbone).latents(6)
    (memory,) = opened
    assert isinstance(memory, QueryMemory)
    assert memory.queries[0].shape == (1, 12, 24)
    assert not memory.leaving
