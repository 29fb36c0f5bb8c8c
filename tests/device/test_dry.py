"""All strategies and models on the pretended device: no tensor on the wrong device, and no wait in a pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import registry
from harness.backbone.presets import Backbone, build
from harness.backbone.wan import WanConfig
from harness.memory import Strategy
from harness.plan.device import DEVICES
from tests.device import rollouts
from tests.device.rollouts import CHUNKS, backbone, cuda, roll
from tests.rollout.tape import taped
from tests.rollout.test_graphs import BY_HEAD
from tests.strategies.modes import MODES, Mode

pytestmark = pytest.mark.dry
STRATEGIES = list(registry.found("strategies"))
KNOBS = [mode for mode in MODES if mode.fixed and mode.strategy not in ("forcing_kv",)]


def made(mode: Mode) -> Strategy:
    """A mode's strategy; the knobs that the mode leaves open have their defaults."""
    fixed = dict(mode.fixed)
    # A knob of the rollout's own in the oracle's tests, not one of the policy.
    outer = {name: fixed.pop(name) for name in ("evaluation",) if name in fixed}
    return registry.strategy(mode.strategy, **mode.made(fixed), **outer)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy(name: str, rows: int) -> None:
    with cuda(name) as host:
        state = roll(backbone(), registry.strategy(name), rows=rows, chunks=CHUNKS if rows == 1 else 5)
    assert state["index"] == (CHUNKS if rows == 1 else 5)
    allowed = rollouts.ALLOWED.get(name, ())
    assert all(wait.where.startswith(allowed) for wait in host.waits if wait.in_pass)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_in_graphs(name: str) -> None:
    with cuda(name) as host, taped() as tape:
        state = roll(replace(backbone(), compile="graphs"), registry.strategy(name), chunks=2 * CHUNKS)
    assert state["index"] == 2 * CHUNKS
    assert not [wait for wait in host.waits if wait.in_pass]
    assert bool(tape.replayed) == (registry.strategy(name).bounded and name not in BY_HEAD)


@pytest.mark.parametrize("mode", KNOBS, ids=str)
def test_every_mode_of_its_knobs(mode: Mode) -> None:
    with cuda(mode.strategy):
        state = roll(backbone(dtype="float32"), made(mode))
    assert state["index"] == CHUNKS


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("name", ["sliding_window", "memrope", "echo_forcing", "quantized"])
def test_other_types_of_numbers_and_a_layout_that_lives_for_a_pass(name: str, dtype: str) -> None:
    with cuda(name):
        state = roll(backbone(dtype=dtype), registry.strategy(name), layout="pass", chunks=6)
    assert state["index"] == 6


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_rollout_goes_on_on_the_other_device(name: str) -> None:
    strategy = registry.strategy(name)
    with cuda(name):
        on_device, on_host = backbone(dtype="float32"), backbone("cpu", "float32")
        for first, second in ((on_device, on_host), (on_host, on_device)):
            half = roll(first, strategy, chunks=5)
            assert all(x.device.type == "cpu" for x in _tensors(half))
            whole = roll(second, strategy, chunks=6, resume=half)
            assert whole["index"] == 6


def _tensors(state: Any) -> Iterator[torch.Tensor]:
    from torch.utils._pytree import tree_leaves

    return (x for x in tree_leaves(dict(state)) if isinstance(x, torch.Tensor))


@pytest.mark.parametrize("name", ["wan-1.3b", "self-forcing", "longlive", "causal-forcing", "sgf", "pocket"])
def test_a_backbone_at_full_size(name: str) -> None:
    """The sizes of the backbone, with weights without contents; two chunks."""
    paper = registry.backbone(name, device="meta")
    with cuda("sliding_window"):
        model = build(paper.model.config, device="cuda", dtype="bfloat16")
        stage = replace(paper, model=model, text=None, codec=None, world=None)
        state = roll(stage, registry.strategy("sliding_window"), chunks=2)
    assert state["index"] == 2


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_at_the_width_of_wan(name: str) -> None:
    """Two layers of Wan2.1-1.3B at 480x832; the eight of the plan and all others."""
    with cuda(name):
        config = WanConfig(num_layers=2)
        stage = Backbone(model=build(config, device="cuda", dtype="bfloat16"), name="wan-1.3b")
        state = roll(stage, registry.strategy(name), chunks=5)
    assert state["index"] == 5


@pytest.mark.parametrize("options", [{}, {"tiling": True}, {"offload": True}], ids=str)
def test_films(options: dict[str, bool], weights: Path) -> None:
    """The VAE on the device: whole, in tiles, and off the device while nothing is decoded."""
    from harness.backbone.published.vae import WanCodec

    latents = torch.zeros(1, 3, 16, 8, 8)
    with cuda("sliding_window"):
        codec = WanCodec.load(weights / "vae", device="cuda", dtype=torch.bfloat16, **options)
        decoder = codec.decoder()
        for _ in range(2):
            pictures = decoder(latents.to("cuda"))
            assert pictures.device.type == "cuda"
            decoder.load_state_dict(decoder.state_dict())
        assert codec.encode(pictures[:, :5].contiguous()).shape[2:] == latents.shape[2:]


def test_films_of_the_light_decoder(weights: Path) -> None:
    from harness.backbone.published.light import LightCodec

    with cuda("sliding_window"):
        codec = LightCodec.load(weights / "taew2_1.pth", device="cuda", dtype=torch.bfloat16)
        decoder = codec.decoder()
        for frames in (9, 12):
            pictures = decoder(torch.zeros(1, 3, 16, 8, 8).to("cuda"))
            assert (pictures.device.type, pictures.shape[1]) == ("cuda", frames)
            decoder.load_state_dict(decoder.state_dict())
        assert codec.encode(pictures[:, :5].contiguous()).shape == (1, 2, 16, 8, 8)


@pytest.mark.parametrize("name", ["fps", "latency", "vram"])
def test_cost_suites_with_a_pretended_clock(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**9))

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: object) -> None:
            self.at = next(ticks)

        def elapsed_time(self, later: Event) -> float:
            return float(later.at - self.at)

    monkeypatch.setattr("torch.cuda.Event", Event)
    monkeypatch.setattr("torch.cuda.synchronize", lambda *_: None)
    for reading in ("memory_allocated", "memory_reserved", "max_memory_allocated"):
        monkeypatch.setattr(f"torch.cuda.{reading}", lambda *_: next(ticks))
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda *_: None)
    # Without contents, every chunk is like the one before.
    monkeypatch.setattr("suites.cost_suite._check", lambda *_: None)
    # What the registry would give for the name of the tiny model.
    monkeypatch.setattr("suites.vram.registry.open_backbone", lambda request: backbone(request.device))
    monkeypatch.setattr("suites.vram.at_hand", lambda *_: DEVICES["H100"])
    suite = registry.load("suites", name)()
    with cuda("memrope"):
        stage = backbone()
        task = suite.tasks(stage, "gate")[0]
        short = replace(task, frames=24, rows=tuple(replace(row, script=row.script[:1]) for row in task.rows))
        samples = suite.measure(stage, registry.strategy("memrope"), short, 0.0)
    assert samples
