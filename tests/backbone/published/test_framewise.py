"""Frame-wise models: the published backbones in chunks of one latent frame, under every strategy."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.backbone.presets import Backbone
from harness.errors import KnobError, PresetError
from harness.memory import Strategy
from harness.plan.planning import plan
from harness.provenance.environment import environment, weights_hash
from harness.rollout import rollout
from harness.rollout.noise import PairedNoise
from harness.rollout.request import beyond_training
from harness.rollout.sample import sample, script_of
from suites.drift import Drift
from suites.fps import Fps
from suites.interactive import Interactive
from suites.latency import Latency
from suites.vram import Vram
from tests import published
from tests.heads import prepared
from tests.lanes import pushed

pytestmark = pytest.mark.usefixtures("own_cache")
STRATEGIES = list(registry.found("strategies"))
SCENES = "a fox [3s#] | a den [1.75s@] | a fox [2s]"


@pytest.fixture
def framewise(weights: Path) -> Backbone:
    return registry.backbone("self-forcing", weights=weights, size=published.SIZE, dtype="float32", chunk=1)


def drawn(backbone: Backbone, strategy: Strategy, frames: int) -> Tensor:
    """The latents of one video."""
    prompts = torch.randn(1, 5, published.CONFIG["text_dim"], generator=torch.Generator().manual_seed(1))
    noise = PairedNoise([(0, "a fox")])
    chunks = rollout(backbone, strategy, prompts=prompts, latent_frames=frames, latent_size=(4, 6), noise=noise)
    parts = [chunk.latents for chunk in chunks]
    assert {part.shape[1] for part in parts} == {backbone.chunk}
    return torch.cat(parts, 1)


@pytest.mark.parametrize("name", pushed(STRATEGIES, "forcing_kv", "videomla"))
def test_every_strategy_draws_frame_by_frame(framewise: Backbone, name: str) -> None:
    config = framewise.model.config
    strategy = prepared(name, config.num_layers, config.num_heads, "self-forcing")
    # 27 latent frames: more than any window, and no multiple of 3 in the second scene.
    script = script_of(framewise, SCENES if strategy.bounded else "a fox", None if strategy.bounded else 5.25)
    assert [cue.start for cue in script.cues] == ([0, 12, 19] if strategy.bounded else [0])
    pieces = list(sample(framewise, strategy, script))
    assert [len(piece.pictures) for piece in pieces] == [1] + [4] * (script.frames - 1)
    assert sum(len(piece.pictures) for piece in pieces) == framewise.pixel_frames(script.frames)
    assert all(bool(piece.pictures.isfinite().all()) for piece in pieces)


@pytest.mark.parametrize("name", ["attention_sink", "ema_sink", "infinity_rope", "memrope", "sliding_window"])
def test_until_a_window_is_full_all_is_remembered(framewise: Backbone, name: str) -> None:
    """Windows count latent frames, the one that is drawn included, whatever the chunk is."""
    strategy: Any = registry.strategy(name)
    full, ours = (drawn(framewise, each, strategy.window + 2) for each in (registry.strategy("full"), strategy))
    torch.testing.assert_close(ours[:, :-2], full[:, :-2], atol=1e-4, rtol=0)
    assert (ours[:, -2] - full[:, -2]).abs().max() > 1e-3


def test_windows_hold_more_beside_a_chunk_of_one_frame(framewise: Backbone) -> None:
    usual = registry.backbone("self-forcing", device="meta", size=published.SIZE)
    window = registry.strategy("sliding_window", window=12)
    held = [window.open(backbone.memory_spec()).capacity for backbone in (usual, framewise)]
    assert held == [9, 11]
    # The smallest window has room for its sink and one frame.
    registry.strategy("attention_sink", window=4, sink=3).open(framewise.memory_spec())
    with pytest.raises(KnobError, match=r"window 3 is smaller than sink 3 \+ chunk 1 = 4 latent frames"):
        registry.strategy("attention_sink", window=3, sink=3).open(framewise.memory_spec())


def test_a_chunk_is_part_of_what_a_model_is(weights: Path, framewise: Backbone) -> None:
    usual = registry.backbone("self-forcing", weights=weights, size=published.SIZE, dtype="float32")
    asked = registry.backbone("self-forcing", weights=weights, size=published.SIZE, dtype="float32", chunk=3)
    assert (usual.chunk, framewise.chunk) == (3, 1)
    assert weights_hash(asked) == weights_hash(usual) != weights_hash(framewise)
    assert ("chunk" in asked.options, framewise.options["chunk"]) == (False, 1)
    assert environment(framewise)["chunk"] == 1
    assert not torch.equal(*(drawn(each, registry.strategy("full"), 6) for each in (usual, framewise)))


@pytest.mark.parametrize("name", ["self-forcing", "longlive", "causal-forcing", "sgf", "wan-1.3b"])
def test_chunks_that_no_published_model_has_are_refused(name: str) -> None:
    for wrong in (0, -1, 2, 4, 21, 1.5, "1", True, None):
        options: dict[str, Any] = {"chunk": wrong}
        if wrong is None:
            assert registry.backbone(name, device="meta", **options).chunk == 3
            continue
        with pytest.raises(PresetError, match=r"is not possible; allowed: 3 \(as published\), 1 \(for frame-"):
            registry.backbone(name, device="meta", **options)
    assert registry.backbone(name, device="meta", chunk=1).chunk == 1


@pytest.mark.parametrize("name", pushed(STRATEGIES, "videomla"))
def test_what_a_frame_costs_is_planned_for_every_strategy(weights: Path, name: str) -> None:
    strategy, plans = registry.strategy(name), []
    for chunk in (1, 3):
        paper = registry.backbone("self-forcing", device="meta", weights=weights, size=published.SIZE, chunk=chunk)
        plans.append(plan(strategy, paper, paper.latent_size, 42 if strategy.bounded else 21))
    one, three = plans
    assert (one.chunk, one.pictures, one.passes) == (1, 4, 5)
    # A third of the queries, and about as much to attend to.
    assert one.flops_per_chunk < three.flops_per_chunk < 4 * one.flops_per_chunk


def test_suites_have_tasks_of_whole_chunks(framewise: Backbone) -> None:
    for suite in (Drift(), Interactive(), Fps(), Latency(), Vram()):
        tasks = [task for tier in suite.tiers for task in islice(suite.tasks(framewise, tier, 0), 5)]
        assert tasks
        for task in tasks:
            starts = [start for row in task.rows for start, _ in row.script]
            assert starts == sorted(starts) or len(task.rows) > 1
            assert max(starts) < task.frames
    assert beyond_training(framewise, "full", registry.strategy("full"), 21) is None
    assert "21 latent frames" in str(beyond_training(framewise, "full", registry.strategy("full"), 22))
