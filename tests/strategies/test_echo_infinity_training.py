"""The memory learns, through its updates, to make up for what left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness import registry
from harness.backbone.presets import Backbone
from harness.errors import HorizonError
from harness.pocket.lessons import lesson
from harness.training.school import Request
from harness.training.stages import Exercise, Phase, Stage
from harness.training.study import read_log, resume, run
from strategies.echo_infinity import EchoInfinity, school
from strategies.echo_infinity.training import Remembering, stages
from tests import toy
from tests.killing import killed_twice, same_ending

KNOBS = EchoInfinity(window=6, sink=2, memory=2, parameters="untrained")
EXERCISES = (Exercise(12, 2), Exercise(24, 1, window=3))


def backbone() -> Backbone:
    return toy.backbone(prompts=["one", "two", "three"], trained_frames=12)


def trainer(folder: str | Path, steps: int = 60) -> Remembering:
    stage = Stage("short", (Phase(steps, EXERCISES),), rate=5e-3, rest_rate=2e-3, decay_from=0.5, warm_up=5)
    made = Remembering(backbone(), KNOBS, stage, Path(folder), 0, compile=False)
    resume(made)
    return made


def test_sixty_steps_killed_twice_end_with_the_same_bits(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run(trainer(whole), save_every=7)
    torch.set_num_threads(threads)
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from tests.strategies.test_echo_infinity_training import trainer, run\n"
        f"run(trainer({str(parts)!r}), save_every=7)\n"
    )
    killed_twice(code, parts)
    same_ending(whole, parts)
    log = read_log(whole)
    assert {line["without_sink"] for line in log} == {0.0, 1.0}
    assert sum(line["loss"] for line in log[-10:]) < 0.9 * sum(line["loss"] for line in log[:10])


def test_every_parameter_that_an_update_goes_through_learns_and_the_model_does_not(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    before = {name: x.clone() for name, x in made.adapted.model.state_dict().items()}
    for _ in range(4):
        made.advance()
    for name, x in made.adapted.model.state_dict().items():
        assert torch.equal(x, before[name]) == (not name.startswith("query_memory_encoder.")), name


def test_untrained_parameters_are_drawn_anew_for_every_training(tmp_path: Path) -> None:
    stage = backbone()
    fresh = KNOBS.adapt(stage).model.get_submodule("query_memory_encoder").state_dict()
    fresh = {name: x.clone() for name, x in fresh.items()}
    made = Remembering(stage, KNOBS, trainer(tmp_path).stage, tmp_path, 0, compile=False)
    made.advance()
    after = KNOBS.adapt(stage).model.get_submodule("query_memory_encoder").state_dict()
    assert all(torch.equal(x, after[name]) for name, x in fresh.items())


def test_the_stages_follow_from_the_backbone() -> None:
    found = stages(registry.backbone("pocket"))
    assert list(found) == list(school.ORDER)
    assert {each.frames for phase in found["short"].phases for each in phase.exercises} == {36}
    assert {(each.frames, each.window) for phase in found["streaming"].phases for each in phase.exercises} == {(72, 11)}


def test_a_stage_begins_where_the_one_before_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {
        name: replace(stage, phases=(Phase(2, (Exercise(18, 1),)),))
        for name, stage in stages(registry.backbone("pocket")).items()
    }
    monkeypatch.setattr(school, "stages", lambda backbone: short)
    request = Request("echo_infinity.memory=1", tmp_path)
    with pytest.raises(HorizonError, match=r"short/echo_infinity\.safetensors: no such file; train one with"):
        school.enrol("streaming", request)
    first = school.enrol("short", request)
    run(first)
    path = school.graduate("short", first, request, install=False)
    told = EchoInfinity(memory=1, parameters=str(path)).weights(registry.backbone("pocket"))
    assert told is not None
    assert told.about == "trained, short after 2 steps, seed 0"
    second = school.enrol("streaming", request)
    for name, x in first.module.state_dict().items():
        assert torch.equal(x.half().float(), second.module.state_dict()[name])


@pytest.mark.parametrize(
    "what", ["echo_infinity.memory=0", "echo_infinity.update=never", "echo_infinity.parameters=x.pt"]
)
def test_without_a_memory_there_is_nothing_to_train(tmp_path: Path, what: str) -> None:
    with pytest.raises(HorizonError, match="no memory in it to train"):
        school.enrol("short", Request(what, tmp_path))


def test_clips_that_return_are_away_for_longer_than_a_window_could_be_short() -> None:
    scripts = lesson(0, 0, 300, 36, 3, "return").clip.scripts
    away = []
    for scenes in scripts:
        assert len(scenes) == 3
        assert scenes[2].saying.kind == "recall"
        away.append((scenes[2].start - scenes[1].start) // 3)
    assert min(away) == 3
    assert max(away) >= 8
    assert 0.35 < sum(scenes[1].saying.covered for scenes in scripts) / 300 < 0.65
