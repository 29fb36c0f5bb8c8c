"""The memory learns, through its updates, to make up for what left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.backbone.presets import Backbone
from harness.errors import HorizonError
from harness.pocket.training.clips import training_clips
from harness.rollout import rollout
from harness.training.loop import read_log, resume, run
from harness.training.recipe import Request
from harness.training.schedule import Exercise, Phase, Stage
from strategies.echo_infinity import EchoInfinity, recipe
from strategies.echo_infinity.memory import QueryMemory
from strategies.echo_infinity.rollout_training import Streaming
from strategies.echo_infinity.training import Remembering, stages
from tests import toy
from tests.killing import killed_twice, same_ending

KNOBS = EchoInfinity(window=6, sink=2, memory=2, parameters="untrained")
EXERCISES = (Exercise(12, 2), Exercise(24, 1, window=3))
LEARNERS = ("short", "streaming")


def backbone() -> Backbone:
    return toy.backbone(prompts=["one", "two", "three"], trained_frames=12)


def trainer(folder: str | Path, name: str, steps: int = 60) -> Remembering | Streaming:
    exercises = EXERCISES if name == "short" else (Exercise(12, 2),)
    stage = Stage(name, (Phase(steps, exercises),), rate=5e-3, rest_rate=2e-3, decay_from=0.5, warm_up=5)
    kind, options = (Remembering, {"compile": False}) if name == "short" else (Streaming, {})
    made = kind(backbone(), KNOBS, stage, Path(folder), 0, **options)
    resume(made)
    return made


@pytest.mark.nightly
@pytest.mark.parametrize("name", LEARNERS)
def test_sixty_steps_killed_twice_end_with_the_same_bits(tmp_path: Path, name: str) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run(trainer(whole, name), save_every=7)
    torch.set_num_threads(threads)
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from tests.strategies.test_echo_infinity_training import trainer, run\n"
        f"run(trainer({str(parts)!r}, {name!r}), save_every=7)\n"
    )
    killed_twice(code, parts)
    same_ending(whole, parts)
    log = read_log(whole)
    assert len({line["sink"] for line in log}) == 2
    assert sum(line["loss"] for line in log[-10:]) < 0.9 * sum(line["loss"] for line in log[:10])


@pytest.mark.parametrize("name", LEARNERS)
def test_every_parameter_that_an_update_goes_through_learns_and_the_model_does_not(tmp_path: Path, name: str) -> None:
    made = trainer(tmp_path, name)
    before = {name: x.clone() for name, x in made.adapted.model.state_dict().items()}
    for _ in range(4):
        made.advance()
    for key, x in made.adapted.model.state_dict().items():
        assert torch.equal(x, before[key]) == (not key.startswith("query_memory_encoder.")), key


def test_untrained_parameters_are_drawn_anew_for_every_training(tmp_path: Path) -> None:
    stage = backbone()
    fresh = KNOBS.adapt(stage).model.get_submodule("query_memory_encoder").state_dict()
    fresh = {name: x.clone() for name, x in fresh.items()}
    made = Remembering(stage, KNOBS, trainer(tmp_path, "short").stage, tmp_path, 0, compile=False)
    made.advance()
    after = KNOBS.adapt(stage).model.get_submodule("query_memory_encoder").state_dict()
    assert all(torch.equal(x, after[name]) for name, x in fresh.items())


def test_the_stages_follow_from_the_backbone() -> None:
    found = stages(registry.backbone("pocket"))
    assert list(found) == list(recipe.ORDER)
    assert {each.frames for phase in found["short"].phases for each in phase.exercises} == {36}
    assert {each.frames for phase in found["streaming"].phases for each in phase.exercises} == {36}


def test_a_stream_is_what_a_sink_makes_of_a_true_beginning(tmp_path: Path) -> None:
    """The same as a rollout of `attention_sink` from the same noise, prompts stretched."""
    made = trainer(tmp_path, "streaming")
    assert isinstance(made, Streaming)
    streams = made._play(0)
    frames = 3 * len(streams.chunks)
    assert frames == 7 * 12

    class Noise:
        def initial(self, chunk: int, shape: torch.Size) -> Tensor:
            return streams.noise[chunk + 1][0]

        def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
            return streams.noise[chunk + 1][step + 1]

    clips = streams.clips
    assert len(set(clips.heard.flatten().tolist())) == len(clips.heard)
    chunks = rollout(
        made.backbone,
        registry.strategy("attention_sink", window=6, sink=3),
        prompts=clips.prompts[clips.heard[:, 0]],
        latent_frames=frames,
        latent_size=made.backbone.latent_size,
        noise=Noise(),
        initial=clips.clean[:, :3],
    )
    torch.testing.assert_close([chunk.latents for chunk in chunks], streams.chunks[1:], rtol=0, atol=1e-5)


def test_a_student_is_shown_everything_and_draws_on_by_itself(tmp_path: Path) -> None:
    made = trainer(tmp_path, "streaming")
    assert isinstance(made, Streaming)
    streams = made._play(0)
    first = 12
    passes = made._student(streams, sink=2, first=first)
    memory = passes.memory
    assert isinstance(memory, QueryMemory)
    for layer in range(2):
        assert list(memory.kept[layer]) == [0, 1, 35]
        assert torch.equal(memory.kept[layer][35].tensors[0], streams.entries[11][layer].tensors[0][:, 2:])
    # Frames that left with the last chunk go through the encoder in the second pass of the next one.
    assert memory.due
    assert memory.queries[0].requires_grad
    made._say(streams.clips, first, passes)
    drawn = made._draw(passes, first, streams.noise[first])
    assert not memory.due
    assert drawn.requires_grad
    assert float((drawn - streams.chunks[first]).detach().abs().max()) > 0


@pytest.mark.nightly
def test_a_stage_begins_where_the_one_before_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {
        name: replace(stage, phases=(Phase(2, (Exercise(18, 1),)),))
        for name, stage in stages(registry.backbone("pocket")).items()
    }
    monkeypatch.setattr(recipe, "stages", lambda backbone: short)
    request = Request("echo_infinity.memory=1", tmp_path)
    with pytest.raises(HorizonError, match=r"short/echo_infinity\.safetensors: no such file; train one with"):
        recipe.open_stage("streaming", request)
    first = recipe.open_stage("short", request)
    run(first)
    path = recipe.finish_stage("short", first, request, install=False)
    told = EchoInfinity(memory=1, parameters=str(path)).weights(registry.backbone("pocket"))
    assert told is not None
    assert told.about == "trained, short after 2 steps, seed 0"
    second = recipe.open_stage("streaming", request)
    for name, x in first.module.state_dict().items():
        assert torch.equal(x.half().float(), second.module.state_dict()[name])


@pytest.mark.parametrize(
    "what", ["echo_infinity.memory=0", "echo_infinity.update=never", "echo_infinity.parameters=x.pt"]
)
def test_without_a_memory_there_is_nothing_to_train(tmp_path: Path, what: str) -> None:
    with pytest.raises(HorizonError, match="has no memory to train"):
        recipe.open_stage("short", Request(what, tmp_path))


def test_clips_that_return_are_away_for_longer_than_a_window_could_be_short() -> None:
    scripts = training_clips(0, 0, 300, 36, 3, "return").clip.scripts
    away = []
    for scenes in scripts:
        assert len(scenes) == 3
        # What is behind a curtain is still there, so it need not be called back.
        assert scenes[2].saying.kind == "recall" or (scenes[1].saying.covered and scenes[2].saying.kind == "smooth")
        away.append((scenes[2].start - scenes[1].start) // 3)
    assert min(away) == 3
    assert max(away) >= 8
    assert 0.35 < sum(scenes[1].saying.covered for scenes in scripts) / 300 < 0.65
