"""Training behind real memories."""

import pytest
import torch

from harness import registry
from harness.backbone.presets import Backbone, build, scramble
from harness.backbone.wan import WanConfig
from harness.pocket.codec import PatchCodec
from harness.pocket.language import WordEncoder
from harness.pocket.recipe import Trainer
from harness.pocket.training.clips import clips
from harness.pocket.training.memories import DRAWN
from harness.pocket.world import film, script
from harness.training import precision
from harness.training.contexts.remembered import flow_behind
from harness.training.schedule import Exercise, Phase, Stage
from harness.training.teacher_forcing import Teacher
from harness.training.trainer import replace

CONFIG = WanConfig(
    dim=32, ffn_dim=48, num_heads=2, num_layers=2, freq_dim=16,
    text_dim=WordEncoder.text_dim, text_len=WordEncoder.text_len,
)  # fmt: skip
TOGETHER = Exercise(24, 2, turns="together", remembered=True)


@pytest.fixture
def trainer(tmp_path):
    codec = PatchCodec().fit(film([script("a thing")] * 64, range(64), 2).pixels)
    stage = Stage("small", (Phase(9, (TOGETHER,)),), 5e-3, 2e-3, 0.5)
    return Trainer(scramble(build(CONFIG, seed=0), seed=1), codec, stage, tmp_path, compile=False)


def generator():
    return torch.Generator().manual_seed(0)


def unlike(draw):
    """The draw with clips of noise, in which no frame looks like another."""
    clean = torch.randn(draw.clips.clean.shape, generator=generator())
    return replace(draw, clips=replace(draw.clips, clean=clean))


def visible(seen, chunk):
    """The frames that both rows of a chunk see, with their temporal ids."""
    assert torch.equal(seen[0, chunk].nan_to_num(99), seen[1, chunk].nan_to_num(99))
    row = seen[0, chunk]
    return {int(frame): float(row[frame]) for frame in (~row.isnan()).nonzero().squeeze(1)}


def test_behind_a_full_memory_it_is_teacher_forcing_on_what_was_committed(trainer):
    draw = trainer.draw(TOGETHER, generator())
    # Where every chunk opens, what is committed is the truth itself.
    draw = unlike(draw)
    draw = replace(draw, clips=replace(draw.clips, opens=torch.ones_like(draw.clips.opens)))
    flow, seen = flow_behind(trainer.backbone, registry.strategy("full"), draw, generator())
    given = draw.clips.clean, draw.noisy, draw.timesteps, draw.clips.prompts, draw.clips.heard
    expected = Teacher(trainer.model, 3, (8, 8), compile=False).flow_in_half_precision(*given)
    assert (flow - expected).abs().max() < 0.05 * expected.abs().max()
    assert visible(seen, 7) == {frame: frame - 21 for frame in range(21)}


@pytest.mark.parametrize(
    ("strategy", "frames"),
    [
        ("sliding_window.window=9", {15: -6, 16: -5, 17: -4, 18: -3, 19: -2, 20: -1}),
        ("attention_sink.window=9,sink=2,positions=absolute", {0: -21, 1: -20, 17: -4, 18: -3, 19: -2, 20: -1}),
        ("memrope.window=9,sink=1", {0: -6, 18: -3, 19: -2, 20: -1}),
        ("echo_infinity.window=9,sink=1,parameters=untrained,reach=21", None),
    ],
)
def test_what_a_memory_shows_is_recognised(trainer, strategy, frames):
    exercise = replace(TOGETHER, turns="some", clips=2)
    draw = unlike(trainer.draw(exercise, generator()))
    clips = draw.clips
    # Nothing is said and nothing switches: what is kept depends on time alone.
    draw = replace(draw, clips=replace(clips, heard=torch.zeros_like(clips.heard)))
    flow, seen = flow_behind(trainer.backbone, registry.parse_strategy(strategy)[1], draw, generator())
    assert flow.isfinite().all()
    if frames is not None:
        assert visible(seen, 7).items() >= frames.items()
    assert {18, 19, 20} <= visible(seen, 7).keys()


@pytest.mark.parametrize("name", DRAWN)
def test_gradients_pass_through_every_memory(trainer, name):
    knobs = {"parameters": "untrained"} if name == "echo_infinity" else {}
    draw = trainer.draw(TOGETHER, generator())
    flow, _ = flow_behind(trainer.backbone, registry.strategy(name, **knobs), draw, generator())
    before = [(block.self_attn.attention, block.cross_attn.attention) for block in trainer.model.layers]
    flow[:, -3:].square().mean().backward()
    # The last chunk's loss reaches what keys and values of earlier ones were made of.
    grads = [x.grad for name, x in trainer.model.named_parameters() if ".self_attn." in name]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)
    assert any(grad.abs().max() > 0 for grad in grads)
    assert before == [(block.self_attn.attention, block.cross_attn.attention) for block in trainer.model.layers]


@pytest.mark.parametrize("name", DRAWN)
def test_memories_compute_in_their_own_type_also_in_half_precision(trainer, name, monkeypatch):
    """As steps are taken: passes in bfloat16 by autocast, what a memory computes in the type of its entries."""
    monkeypatch.setattr(precision, "has_bfloat16_kernels", lambda: True)
    knobs = {"parameters": "untrained"} if name == "echo_infinity" else {}
    draw = trainer.draw(replace(TOGETHER, clips=2), generator())
    with torch.no_grad():
        flow, _ = flow_behind(trainer.backbone, registry.strategy(name, **knobs), draw, generator())
    assert flow.isfinite().all()


def test_products_are_in_half_precision_where_the_processor_has_it(monkeypatch):
    x = torch.ones(4, 4)
    for has, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision, "has_bfloat16_kernels", lambda has=has: has)
        with precision.half_precision(torch.device("cpu")):
            assert (x @ x).dtype == expected


def test_a_step_is_the_same_every_time(trainer, tmp_path):
    one = trainer.losses(TOGETHER, generator())[0]
    again = trainer.losses(TOGETHER, generator())[0]
    assert torch.equal(one, again)


def test_clips_that_do_not_switch_together_are_no_harm_to_plain_backbones():
    codec = PatchCodec().fit(film([script("a thing")] * 64, range(64), 2).pixels)
    made = clips(codec, 3, 0, 0, TOGETHER)
    assert len(made.texts) == len(made.kinds) == len(made.prompts)
    assert made.encode is not None
    assert torch.equal(made.encode(made.texts), made.prompts)
    assert Backbone(model=build(CONFIG)).clips is None
