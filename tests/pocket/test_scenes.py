"""Scripts: numbers of scenes, the scene to which a return leads, and scripts that cannot be filmed."""

import pytest

from harness.errors import PromptError
from harness.pocket.language import ATTRIBUTES
from harness.pocket.scenes import numbered, returns, script
from harness.pocket.world import NAMES, film, look, looks_of, versions_of

LONG = (
    "a small red disc",
    (6, "now a blue disc"),
    (9, "now a thing"),
    (12, "cut to a large green cross"),
    (15, "a curtain"),
)


def returned(prompt, seed=3):
    """Return the place of the scene to which `prompt` returns, and whether its look is that of this scene."""
    scenes = script(*LONG, (21, prompt))
    *others, place = returns(scenes)
    assert others == [None] * 5
    assert place is not None
    looks = looks_of(scenes, seed)
    assert (looks[5] == looks[place]).all()
    return place


def test_curtains_silence_and_returns_have_no_number():
    assert numbered(script(*LONG, (21, "back to a thing"), (24, "now a cross"))) == [1, 2, None, 3, None, None, 4]


def test_a_script_may_return_a_thousand_times():
    """Each return is followed once: by the paths of all returns before it, thirty of them would take years."""
    scenes = script(*LONG, *((21 + 3 * number, f"back to a {word} thing") for number, word in
                             enumerate(["red", "blue", "green", "large"] * 250)))  # fmt: skip
    assert list(returns(scenes))[5:] == [0, 1, 3, 3] * 250
    looks = looks_of(scenes, 0)
    assert all((looks[5 + number] == looks[[0, 1, 3, 3][number % 4]]).all() for number in range(1000))


@pytest.mark.parametrize(
    ("prompt", "place"),
    [
        ("back to a thing", 0),
        ("back to the first thing", 0),
        ("back to the second thing", 1),
        ("back to the third thing", 3),
        ("back to a small thing", 0),
        ("back to a blue thing", 1),
        ("back to a large thing", 3),
        ("back to a cross", 3),
        ("back to the second blue disc", 1),
    ],
)
def test_a_return_is_to_the_scene_of_its_number_or_of_its_words(prompt, place):
    assert returned(prompt) == place


def test_what_comes_back_is_what_the_scene_had_become():
    scenes = script("a disc", (3, "now a red thing"), (6, "cut to a thing"), (9, "back to the second thing"))
    looks = looks_of(scenes, 5)
    assert (looks[3] == looks[1]).all()
    assert ATTRIBUTES["shape"][looks[3][NAMES.index("shape")]] == "disc"
    clip = film([scenes], [5], 12)
    assert (clip.looks[0, 11] == clip.looks[0, 5]).all()


@pytest.mark.parametrize("prompt", ["back to the fourth thing", "back to a purple thing", "back to the first cross"])
def test_a_return_to_a_scene_that_was_never_there_is_one_clear_line(prompt):
    with pytest.raises(PromptError, match=r"never there; scenes so far: first: .*; third: cut to") as caught:
        script(*LONG, (21, prompt))
    assert "\n" not in str(caught.value)


def test_a_return_that_says_what_the_scene_was_not_is_refused_when_it_is_filmed():
    other = next(value for value in ATTRIBUTES["shape"] if value != look(4)["shape"])
    scenes = script("a thing", (6, "cut to a thing"), (12, f"back to a {other}"))
    with pytest.raises(PromptError, match=f"never there: with seed 4 its scene has shape {look(4)['shape']}"):
        film([scenes], [4], 15)


@pytest.mark.parametrize("prompt", ["cut to the second thing", "now the fourth disc"])
def test_a_wrong_number_is_refused(prompt):
    with pytest.raises(PromptError, match="is scene 3 of the script; scenes are counted from 1"):
        script("a disc", (3, "now the second red disc"), (6, prompt))
    script("the first disc", (3, "now the second red disc"), (6, "cut to the third thing"))


def test_a_version_tells_which_scene_set_an_attribute():
    scenes = script(
        "a red disc waits",
        (3, "now a blue thing"),
        (6, "now a blue disc"),
        (9, "cut to a thing"),
        (12, "back to a red disc"),
    )
    versions = versions_of(scenes, 1)
    colour, shape = NAMES.index("colour"), NAMES.index("shape")
    assert [int(each[colour]) for each in versions] == [0, 1, 1, 3, 0]
    assert [int(each[shape]) for each in versions] == [0, 0, 0, 3, 0]


def test_silence_changes_nothing_and_a_swing_goes_on():
    quiet, bare = script("a thing", (9, "now a thing")), script("a thing")
    for seed in range(20):
        one, other = film([quiet], [seed], 18), film([bare], [seed], 18)
        assert (one.pixels - other.pixels).abs().max() < 1e-6


def test_what_was_behind_a_curtain_begins_its_swing_anew():
    scenes = script("a red disc slides fast", (6, "a curtain"), (11, "now a thing"))
    clip = film([scenes], [2], 20)
    assert (clip.places[0, 11:20] == clip.places[0, :9]).all()
    assert (clip.looks[0, 19] == clip.looks[0, 0]).all()
