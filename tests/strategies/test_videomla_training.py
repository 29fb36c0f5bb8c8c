"""Latent attention learns what the dense one does, from clips that are given or that the backbone makes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import registry
from harness.errors import CheckpointError, HorizonError
from harness.training.loop import read_log, resume, run
from harness.training.recipe import Request
from harness.training.rollout_clips import generated_clips
from harness.training.schedule import Exercise, Phase, Stage
from strategies.videomla import VideoMLA, recipe
from strategies.videomla.attention import LatentAttention
from strategies.videomla.initial import fill
from strategies.videomla.training import Matching, Regression, stages
from tests import toy
from tests.killing import killed_twice, same_ending

EXERCISES = (Exercise(9, 2), Exercise(12, 2, window=2), Exercise(9, 2, rehearse=True))


def trainer(kind: str, folder: str | Path, steps: int = 60, method: str = "random") -> Regression | Matching:
    dense = toy.backbone(prompts=["one", "two", "three"], trained_frames=12)
    layers = [LatentAttention(dense.model.config, VideoMLA().sizes(dense), "explicit") for _ in dense.model.layers]
    fill(layers, dense, method)
    stage = Stage(kind, (Phase(steps, EXERCISES),), rate=5e-3, rest_rate=2e-3, decay_from=0.5, warm_up=5)
    made: Any = Matching(dense, layers, stage, Path(folder), 0, compile=False) if kind == "matching" else None
    made = made or Regression(dense, layers, stage, Path(folder), 0)
    resume(made)
    return made


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["regression", "matching"])
def test_sixty_steps_killed_twice_end_with_the_same_bits(kind: str, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from tests.strategies.test_videomla_training import trainer, run\n"
        f"run(trainer({kind!r}, {{!r}}), save_every=7)\n"
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run(trainer(kind, whole), save_every=7)
    torch.set_num_threads(threads)
    killed_twice(code.format(str(parts)), parts)
    same_ending(whole, parts)
    losses = [line["loss"] for line in read_log(whole)]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_only_latent_layers_learn_and_the_dense_backbone_stays(tmp_path: Path) -> None:
    made = trainer("matching", tmp_path)
    before = {name: x.clone() for name, x in made.guide.model.state_dict().items()}
    learning = {name for name, x in made.teacher.model.named_parameters() if x.requires_grad}
    assert learning
    assert all(".self_attn." in name for name in learning)
    made.advance()
    assert all(torch.equal(before[name], x) for name, x in made.guide.model.state_dict().items())


def test_own_clips_are_those_that_full_attention_makes() -> None:
    stage = toy.backbone(prompts=["one", "two", "three"], trained_frames=12)
    clips = generated_clips(stage, 0, 1, Exercise(9, 2))
    assert clips.clean.shape == (2, 9, 4, 4, 4)
    assert clips.clean is clips.answer
    assert torch.equal(clips.prompts, toy.encode(["three", "one"]))
    assert clips.heard.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert clips.opens.tolist() == [[True, False, False]] * 2
    assert torch.equal(clips.clean, generated_clips(stage, 0, 1, Exercise(9, 2)).clean)
    assert not torch.equal(clips.clean, generated_clips(stage, 1, 1, Exercise(9, 2)).clean)


def test_the_stages_follow_from_the_backbone() -> None:
    pocket = stages(registry.backbone("pocket"))
    assert list(pocket) == list(recipe.ORDER)
    exercises = {each for stage in pocket.values() for phase in stage.phases for each in phase.exercises}
    assert {each.frames for each in exercises} == {12, 36}
    assert {each.clips for each in exercises} == {16, 5}
    assert any(each.rehearse for each in pocket["matching"].phases[1].exercises)
    wan = stages(registry.backbone("wan-1.3b", device="meta"))
    assert {each.clips for stage in wan.values() for phase in stage.phases for each in phase.exercises} == {1}


def test_a_stage_begins_where_the_one_before_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {
        name: replace(stage, phases=(Phase(2, (Exercise(6, 2),)),))
        for name, stage in stages(registry.backbone("pocket")).items()
    }
    monkeypatch.setattr(recipe, "stages", lambda backbone: short)
    request = Request("videomla.latent=4,query_latent=8", tmp_path)
    with pytest.raises(CheckpointError, match=r"regression/videomla\.safetensors: no such file; train one with"):
        recipe.open_stage("matching", request)
    first = recipe.open_stage("regression", request)
    run(first)
    path = recipe.finish_stage("regression", first, request, install=False)
    assert path == tmp_path / "regression" / "videomla.safetensors"
    trained = VideoMLA(latent=4, query_latent=8, parameters=str(path))
    pocket = registry.backbone("pocket")
    assert trained.weights(pocket).about == "trained, regression after 2 steps, seed 0"
    second = recipe.open_stage("matching", request)
    for number, block in enumerate(trained.adapt(pocket).model.layers):
        for name, x in block.self_attn.state_dict().items():
            assert torch.equal(x, second.module.state_dict()[f"{number}.{name}"])


@pytest.mark.parametrize(
    ("what", "backbone", "says"),
    [
        ("videomla.latent=999", None, "latent 999 is wider"),
        ("videomla.parameters=svd", None, "parameters=svd cannot be trained"),
        ("videomla", "pockte", "did you mean 'pocket'"),
    ],
)
def test_what_cannot_be_trained(tmp_path: Path, what: str, backbone: str | None, says: str) -> None:
    with pytest.raises(HorizonError, match=says):
        recipe.open_stage("regression", Request(what, tmp_path, backbone))
