"""Scripts of training clips that evolve."""

import collections

import numpy as np

from harness.pocket.language import Saying
from harness.pocket.scenes import Scene, check, numbered, returns, script
from harness.pocket.training.clips import training_clips
from harness.pocket.training.scripts import clip_script
from harness.pocket.world import looks_of, named


def made(turns="evolve", rows=300, frames=36):
    return [
        clip_script(np.random.default_rng(seed), seed, frames, 3, turns)  # type: ignore[arg-type]
        for seed in range(rows)
    ]


def test_evolving_clips_have_changes_silence_words_said_again_curtains_and_returns():
    scripts, found = made(), collections.Counter()
    for scenes in scripts:
        check(scenes)
        assert all(scene.start % 3 == 0 and scene.start < 36 for scene in scenes)
        for scene in scenes[1:]:
            saying = scene.saying
            found["curtain" if saying.covered else "silence" if saying.silent else saying.kind] += 1
            found["number"] += saying.number is not None
    assert all(found[name] > 30 for name in ("curtain", "silence", "smooth", "hardcut", "recall", "number")), found


def test_changes_are_changes_and_silence_is_none():
    again = changes = 0
    for seed, scenes in enumerate(made()):
        looks = looks_of(scenes, seed)
        for place, scene in enumerate(scenes[1:], 1):
            same = (looks[place] == looks[place - 1]).all()
            if scene.saying.silent:
                assert same
            elif scene.saying.kind == "smooth" and not scene.saying.covered:
                again, changes = again + same, changes + (not same)
    assert again > 50
    assert changes > 200


def test_returns_are_to_later_scenes_too_and_by_words_true_of_one_alone():
    places = collections.Counter()
    for seed, scenes in enumerate(made()):
        looks = looks_of(scenes, seed)
        for place, target in enumerate(returns(scenes)):
            if target is not None:
                places[numbered(scenes)[target]] += 1
                assert (looks[place] == looks[target]).all()
    assert places[1] > 10
    assert places[2] > 5


def test_clips_that_turn_together_switch_at_the_same_frames_and_in_the_same_way():
    seen = set()
    for step in range(20):
        made = training_clips(0, step, 6, 36, 3, "together")
        shapes = {tuple((s.start, s.boundary) for s in scenes[1:]) for scenes in made.clip.scripts}
        assert len(shapes) == 1
        assert len({scenes[0].prompt for scenes in made.clip.scripts}) > 1
        seen |= shapes
    assert len(seen) > 15
    assert [made.texts[number] for number in made.heard[:, -1].tolist()] == [
        scenes[-1].prompt for scenes in made.clip.scripts
    ]


def test_scripts_of_many_clips_can_be_filmed():
    """A return by words that contradict what was said before is made by its number instead."""
    for seed in range(3000):
        scenes = clip_script(np.random.default_rng(seed), seed, 36, 3, "evolve")
        check(scenes)


def test_a_return_may_name_everything_that_a_scene_shows():
    """Also what no prompt named: the speed of an object that begins to move, a colour in place of one that is taken."""
    count = 0
    for seed, scenes in enumerate(made(rows=400)):
        looks = looks_of(scenes, seed)
        for place, number in enumerate(numbered(scenes)):
            if number is not None:
                back = Scene(36, Saying(named(looks[place]), "recall", number=number))
                assert (looks_of([*scenes, back], seed)[-1] == looks[place]).all()
                count += 1
    assert count > 800


def test_an_object_that_begins_to_move_is_slow_and_a_return_may_say_so():
    scenes = script(
        "a small red cross waits fast on white with green bands",
        (9, "now the second thing slides on green"),
        (18, "back to the second cross slides slowly"),
    )
    assert list(returns(scenes)) == [None, None, 1]
    (*_, last) = looks_of(scenes, 0)
    shown = named(last)
    assert (shown["speed"], shown["ground"]) == ("slowly", "green")
    assert shown["accent"] not in ("red", "green")
