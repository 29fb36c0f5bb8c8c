"""Training of the pocket: resumption after a kill, checkpoints, training clips and weights of the loss."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.backbone.presets import build
from harness.backbone.wan import WanConfig
from harness.errors import CheckpointError, HorizonError
from harness.pocket import recipe
from harness.pocket.codec import PatchCodec
from harness.pocket.language import ATTRIBUTES, WordEncoder
from harness.pocket.recipe import Trainer
from harness.pocket.training.clips import HABIT, HELD_OUT, emphasis, training_clips
from harness.pocket.world import PIXELS, film, script
from harness.training.loop import read_log, resume, run
from harness.training.recipe import chosen
from harness.training.schedule import Exercise, Phase, Stage
from tests.killing import killed_twice, same_ending

CONFIG = WanConfig(
    dim=32, ffn_dim=48, num_heads=2, num_layers=2, freq_dim=16,
    text_dim=WordEncoder.text_dim, text_len=WordEncoder.text_len,
)  # fmt: skip
STAGE = Stage(
    "small",
    (
        Phase(30, (Exercise(3, 4), Exercise(9, 2, window=1))),
        Phase(
            30,
            (
                Exercise(9, 2, rehearse=True),
                Exercise(6, 2, turns="all"),
                Exercise(12, 2, turns="evolve", arranged=9),
                Exercise(12, 2, turns="together", remembered=True),
            ),
        ),
    ),
    rate=5e-3,
    rest_rate=2e-3,
    decay_from=0.5,
    warm_up=5,
)


def trainer(folder, stage=STAGE, seed=0):
    codec = PatchCodec().fit(film([script("a thing")] * 64, range(64), 2).pixels)
    made = Trainer(build(CONFIG, seed=seed), codec, stage, Path(folder), seed=seed, compile=False)
    resume(made)
    return made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run(trainer(folder), save_every=7)
    return folder


@pytest.mark.nightly
def test_sixty_steps_killed_twice_end_with_the_same_bits(undisturbed, tmp_path):
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from tests.pocket.test_training import trainer, run\n"
        f"run(trainer({str(tmp_path)!r}), save_every=7)\n"
    )
    killed_twice(code, tmp_path)
    same_ending(undisturbed, tmp_path)


def test_it_learns(tmp_path):
    stage = Stage("drawing", (Phase(60, (Exercise(3, 24),)),), rate=1e-2, rest_rate=1e-2, decay_from=0.5, warm_up=5)
    run(trainer(tmp_path, stage))
    losses = [line["loss"] for line in read_log(tmp_path)]
    first, last = sum(losses[:5]) / 5, sum(losses[-10:]) / 10
    assert 0.9 < first < 1.6
    assert last < 0.9 * first


def test_another_seed_is_another_training(undisturbed, tmp_path):
    other = trainer(tmp_path, seed=1)
    assert other.advance()["loss"] != read_log(undisturbed)[0]["loss"]


def test_a_checkpoint_of_something_else_is_refused(undisturbed):
    with pytest.raises(CheckpointError, match="another stage or seed"):
        trainer(undisturbed, seed=1)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_one_clear_line(undisturbed, tmp_path, content):
    whole = (undisturbed / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(CheckpointError, match=r"damaged .* move it away to restart this stage") as caught:
        trainer(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_finished_stage_is_not_run_again(undisturbed):
    before = os.stat(undisturbed / "state.pt").st_mtime_ns
    done = trainer(undisturbed)
    assert done.step == 60
    run(done)
    assert os.stat(undisturbed / "state.pt").st_mtime_ns == before
    assert len(read_log(undisturbed)) == 60


def test_stages_are_named():
    assert chosen(recipe, None) == recipe.ORDER
    with pytest.raises(HorizonError, match="no stage 'warmup'; allowed: drawing, foundation"):
        chosen(recipe, "warmup")


def test_clips_are_functions_of_seed_and_step_and_never_held_out_clips():
    one, again = training_clips(0, 5, 8, 12, 3), training_clips(0, 5, 8, 12, 3)
    assert torch.equal(one.clip.pixels, again.clip.pixels)
    assert torch.equal(one.prompts, again.prompts)
    assert not torch.equal(one.clip.pixels, training_clips(0, 6, 8, 12, 3).clip.pixels)
    assert not torch.equal(one.clip.pixels, training_clips(1, 5, 8, 12, 3).clip.pixels)
    assert HELD_OUT > 2**60


@pytest.mark.nightly
def test_a_quarter_of_the_clips_switch_once_and_words_are_dropped():
    made = training_clips(0, 0, 2000, 36, 3)
    scenes = [len(scenes) for scenes in made.clip.scripts]
    assert 0.2 < scenes.count(2) / 2000 < 0.3
    assert 0.1 < scenes.count(3) / 2000 < 0.25
    said = [len(scenes[0].saying.said) for scenes in made.clip.scripts]
    assert said.count(0) / 2000 > 0.15
    assert said.count(8) / 2000 > 0.1
    assert all(said.count(number) > 40 for number in range(1, 8))
    covered = [scene for scenes in made.clip.scripts for scene in scenes if scene.saying.covered]
    assert len(covered) > 100
    encode = WordEncoder()
    for row, scenes in enumerate(made.clip.scripts[:200]):
        for scene in scenes:
            opens = scene is scenes[0] or scene.saying.kind == "hardcut"
            assert bool(made.opens[row, scene.start // 3]) == opens
            assert torch.equal(made.prompts[made.heard[row, scene.start // 3]], encode([scene.prompt])[0])


def test_with_turns_all_every_clip_has_a_switch():
    made = training_clips(0, 0, 200, 12, 3, "all")
    kinds = [scene.saying.kind for scenes in made.clip.scripts for scene in scenes[1:]]
    assert 0.35 <= kinds.count("smooth") / 200 <= 0.65
    assert kinds.count("smooth") + kinds.count("hardcut") == len(kinds) == 200


def test_smooth_switches_occur_once_or_twice_also_after_the_words_of_a_cut():
    scripts = training_clips(0, 0, 300, 12, 3, "smooth").clip.scripts
    assert {scene.saying.kind for scenes in scripts for scene in scenes[1:]} == {"smooth"}
    assert 0.2 < sum(len(scenes) == 3 for scenes in scripts) / 300 < 0.45
    assert 0.2 < sum(scenes[0].saying.kind == "hardcut" for scenes in scripts) / 300 < 0.45
    assert all(len(scenes) == 2 for scenes in training_clips(0, 0, 50, 6, 3, "smooth").clip.scripts)


def test_the_target_has_habitual_values_in_openings_where_the_prompt_names_none_and_is_the_clip_elsewhere():
    made = training_clips(0, 0, 300, 12, 3)
    clip, target = made.clip, made.target
    frames = made.opens.repeat_interleave(3, 1)
    for before, after in ((clip.pixels, target.pixels), (clip.looks, target.looks), (clip.places, target.places)):
        assert torch.equal(before[~frames], after[~frames])
    usual = dict.fromkeys(ATTRIBUTES, 0)
    for row, scenes in enumerate(clip.scripts):
        for scene in scenes:
            if not made.opens[row, scene.start // 3]:
                continue
            looks = dict(zip(ATTRIBUTES, target.looks[row, scene.start].tolist(), strict=True))
            assert (target.looks[row, scene.start : scene.start + 3] == target.looks[row, scene.start]).all()
            assert len({looks[name] for name in ("colour", "ground", "accent")}) == 3
            for name, value in scene.saying.said.items():
                assert ATTRIBUTES[name][looks[name]] == value
            for name in ("shape", "size", "texture", "motion", "speed"):
                if name not in scene.saying.said:
                    usual[name] += 1
                    assert ATTRIBUTES[name][looks[name]] == HABIT[name]
            if not scene.saying.said:
                assert [ATTRIBUTES[name][looks[name]] for name in HABIT] == list(HABIT.values())
    assert all(count > 50 for name, count in usual.items() if name in ("shape", "size", "texture", "motion", "speed"))
    assert list(HABIT) == list(ATTRIBUTES)


def test_the_object_has_the_largest_weight_in_the_loss():
    made = training_clips(0, 0, 300, 36, 3)
    weights = emphasis(made.clip, 8, 3, Exercise(36, 300))
    assert weights.shape == (300, 36, 1, 8, 8)
    assert abs(float(weights.mean()) - 1) < 1e-5
    heavy, light = float(weights.max()), float(weights.min())
    assert abs(heavy / light - 5) < 1e-4
    for row in range(300):
        for frame in (0, 20):
            x, y = (int(place // 4) for place in made.clip.places[row, frame])
            seen = float(made.clip.cover[row, frame]) * PIXELS < float(made.clip.places[row, frame, 1])
            assert (float(weights[row, frame, 0, y, x]) == heavy) == seen
    assert 0.1 < float((weights == heavy).float().mean()) < 0.5


def test_chunks_of_changes_and_of_silence_count_more_where_an_exercise_says_so():
    made, plain = training_clips(0, 0, 40, 36, 3, "evolve"), Exercise(36, 40)
    ratio = emphasis(made.clip, 8, 3, replace(plain, change=4.0, silence=2.0)) / emphasis(made.clip, 8, 3, plain)
    ratio = (ratio / ratio.min())[:, :, 0, 0, 0]
    factors = torch.ones(40, 36)
    for row, scenes in enumerate(made.clip.scripts):
        for scene in scenes[1:]:
            if scene.saying.kind == "smooth" and not scene.saying.covered:
                factors[row, scene.start : scene.start + 3] = 4 if scene.saying.said else 2
    assert torch.allclose(ratio, factors, atol=1e-4)
    assert {1.0, 2.0, 4.0} == set(factors.unique().tolist())


def test_an_exercise_may_raise_the_weight_of_small_parts():
    made = training_clips(0, 0, 40, 36, 3)
    weights = emphasis(made.clip, 8, 3, Exercise(36, 40, detail=3.0))
    assert abs(float(weights.max() / weights.min()) - 15) < 1e-3


def test_the_log_is_lines_of_json(undisturbed):
    first = json.loads((undisturbed / "log.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert {"step", "loss", "seconds", "frames"} <= first.keys()
