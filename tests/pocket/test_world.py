import pytest
import torch

from harness.errors import PromptError
from harness.pocket.language import ATTRIBUTES, Saying
from harness.pocket.world import (
    CLOTH,
    HEADINGS,
    NAMES,
    PALETTE,
    PIXELS,
    SIZES,
    SPEEDS,
    SWING,
    Scene,
    film,
    look,
    script,
)

NOTHING = script("a thing")


def value(clip, name, row=0, frame=0):
    return ATTRIBUTES[name][int(clip.looks[row, frame, NAMES.index(name)])]


def test_a_clip_is_a_function_of_its_seed_and_not_of_its_batch():
    together, again = film([NOTHING] * 5, range(5), 12), film([NOTHING] * 5, range(5), 12)
    alone = film([NOTHING], [3], 12)
    assert torch.equal(together.pixels, again.pixels)
    assert torch.equal(together.pixels[3], alone.pixels[0])
    assert torch.equal(together.pixels[3, :4], film([NOTHING], [3], 4).pixels[0])
    assert not torch.equal(together.pixels[0], together.pixels[1])


def test_pictures_are_pictures():
    clip = film([NOTHING] * 64, range(64), 3)
    assert clip.pixels.shape == (64, 3, 3, PIXELS, PIXELS)
    assert clip.pixels.dtype == torch.float32
    assert 0 <= clip.pixels.min() < 0.2
    assert 0.9 < clip.pixels.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_drawn_about_equally_often(name):
    drawn = [look(seed)[name] for seed in range(2000)]
    expected = 2000 / len(ATTRIBUTES[name])
    for choice in ATTRIBUTES[name]:
        assert 0.8 * expected < drawn.count(choice) < 1.2 * expected


def test_object_ground_and_marks_have_three_colours():
    for seed in range(500):
        drawn = look(seed)
        assert len({drawn["colour"], drawn["ground"], drawn["accent"]}) == 3


def test_what_is_said_comes_true_and_the_rest_comes_from_the_seed():
    for seed in range(40):
        drawn = look(seed)
        clip = film([script("a small white cross")], [seed], 3)
        assert {name: value(clip, name) for name in ("size", "colour", "shape")} == {
            "size": "small",
            "colour": "white",
            "shape": "cross",
        }
        for name in ("texture", "motion", "speed"):
            assert value(clip, name) == drawn[name]
        if "white" not in (drawn["ground"], drawn["accent"]):
            assert (value(clip, "ground"), value(clip, "accent")) == (drawn["ground"], drawn["accent"])


def test_an_unsaid_colour_gives_way_to_a_said_one():
    seed = next(seed for seed in range(100) if look(seed)["ground"] == "white")
    clip = film([script("a white thing")], [seed], 3)
    colours = {value(clip, name) for name in ("colour", "ground", "accent")}
    assert value(clip, "colour") == "white"
    assert len(colours) == 3


def test_the_object_has_its_colour_where_it_is_said_to_be():
    scripts = [script(f"a disc on {ground}") for ground in ("red", "blue")]
    clip = film(scripts, [5, 6], 9)
    for row in range(2):
        colour = torch.tensor(PALETTE[int(clip.looks[row, 0, NAMES.index("colour")])])
        for frame in range(9):
            x, y = (int(each) for each in clip.places[row, frame])
            assert torch.allclose(clip.pixels[row, frame, :, y, x], colour)


def test_the_object_stays_inside_and_moves_at_its_speed():
    clip = film([NOTHING] * 200, range(200), 60)
    radius = torch.tensor(SIZES)[clip.looks[:, :, NAMES.index("size")]][..., None]
    assert (clip.places - radius >= 0).all()
    assert (clip.places + radius <= PIXELS).all()
    assert torch.equal(clip.places[:, len(SWING) :], clip.places[:, : -len(SWING)])
    steps = clip.places.diff(dim=1).abs()
    motion, speed = (clip.looks[:, :1, NAMES.index(name)] for name in ("motion", "speed"))
    expected = torch.tensor(SPEEDS)[speed][..., None] * torch.tensor(HEADINGS)[motion]
    assert torch.equal(steps, expected.expand_as(steps))


def test_a_smooth_switch_keeps_what_it_does_not_name():
    clip = film([script("a thing", (9, "now a white cross"))], [12], 18)
    drawn = look(12)
    assert (value(clip, "colour", frame=17), value(clip, "shape", frame=17)) == ("white", "cross")
    for name in ("size", "texture", "motion", "speed"):
        assert value(clip, name, frame=17) == drawn[name]
    # The object goes on from where it was, and the picture changes over three frames.
    assert (clip.places[0, 9] - clip.places[0, 8]).abs().max() <= max(SPEEDS)
    change = (clip.pixels[0, 9:12] - film([script("a thing")], [12], 12).pixels[0, 9:12]).abs().mean((1, 2, 3))
    assert 0 < change[0] < change[1] < change[2]


def test_a_hard_cut_draws_everything_anew():
    same = total = 0
    for seed in range(60):
        clip = film([script("a thing", (9, "cut to a thing"))], [seed], 12)
        assert {name: value(clip, name, frame=9) for name in NAMES} == look(seed, 1)
        same += int((clip.looks[0, 0] == clip.looks[0, 9]).sum())
        total += len(NAMES)
    assert same / total < 0.4


def test_a_recall_brings_the_first_scene_back():
    clip = film([script("a thing", (9, "cut to a thing"), (18, "back to a thing"))], [4], 24)
    alone = film([NOTHING], [4], 24)
    assert torch.equal(clip.pixels[0, :9], alone.pixels[0, :9])
    assert not torch.equal(clip.pixels[0, 9:18], alone.pixels[0, 9:18])
    # It begins anew, as it did at first.
    assert torch.allclose(clip.pixels[0, 18:], alone.pixels[0, :6], atol=1e-5)


def test_a_curtain_covers_everything_for_longer_than_any_window_and_rises_again():
    clip = film([script("a thing", (6, "a curtain"), (36, "back to a thing"))], [8], 48)
    alone = film([NOTHING], [8], 48)
    cloth = torch.tensor(CLOTH).view(3, 1, 1)
    assert (clip.cover[0, 8:36] == 1).all()
    assert torch.allclose(clip.pixels[0, 8:36], cloth.expand(28, 3, PIXELS, PIXELS))
    assert 0 < clip.cover[0, 6] < clip.cover[0, 7] < 1
    assert 1 > clip.cover[0, 36] > clip.cover[0, 37] > clip.cover[0, 38] == 0
    assert torch.allclose(clip.pixels[0, 38:], alone.pixels[0, 2:12], atol=1e-5)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (script, "the first must start at 0"),
        (lambda: script("a thing", (0, "now a disc")), "each later than the last"),
        (lambda: script("a thing", (9, "now a disc"), (6, "now a cross")), "each later than the last"),
        (lambda: script("a curtain"), "cannot begin with a curtain"),
        (lambda: film([NOTHING], [1, 2], 3), "1 scripts for 2 seeds"),
        (lambda: film([(Scene(3, Saying()),)], [1], 6), "the first must start at 0"),
    ],
)
def test_scripts_that_cannot_be_filmed(make, says):
    with pytest.raises(PromptError, match=says):
        make()


def test_a_later_part_of_a_clip_is_the_same_as_in_the_whole():
    scripts = [script("a thing", (9, "now a white cross"), (15, "a curtain"), (21, "back to a thing"))]
    whole = film(scripts, [3], 30)
    for start, frames in ((0, 5), (4, 9), (9, 6), (10, 1), (16, 14), (29, 1)):
        part = film(scripts, [3], frames, start)
        for name in ("pixels", "looks", "places", "cover"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[:, start : start + frames])
