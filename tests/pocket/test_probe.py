import pytest
import torch

from harness.backbone.world import UNSURE, Reading, agreed
from harness.pocket.language import ATTRIBUTES
from harness.pocket.preset import codec, probe
from harness.pocket.probe import SEEN, travel
from harness.pocket.training.probe_data import blended, blur, covered, damaged, faded, meaningless, noised, truths
from harness.pocket.world import NAMES, PIXELS, SPEEDS, film, look, script

COUNT = 600


@pytest.fixture(scope="module")
def coded():
    return truths(range(7000, 7000 + COUNT), codec())


def right(plate, pictures=None):
    reading = probe().read(plate.pictures if pictures is None else pictures)
    return (reading.values == plate.values).float().mean(0)


def test_it_reads_held_out_truth(coded):
    assert (right(truths(range(9000, 9000 + COUNT))) > 0.95).all()
    assert (right(coded) > 0.95).all()
    reading = probe().read(coded.pictures)
    assert reading.present.float().mean() > 0.99
    assert (reading.places - coded.places).norm(dim=1).median() < 0.5


@pytest.mark.nightly
def test_it_reads_what_is_a_little_blurred_noised_or_faded(coded):
    ones = torch.ones(COUNT)
    generator = torch.Generator().manual_seed(0)
    for pictures in (
        blur(coded.pictures, 0.6 * ones),
        noised(coded.pictures, 0.06 * ones, generator),
        faded(coded.pictures, 0.8 * ones),
    ):
        assert (right(coded, pictures) > 0.93).all()


def test_garbage_gets_no_answer():
    generator = torch.Generator().manual_seed(1)
    plate = meaningless(COUNT, generator)
    reading = probe().read(plate.pictures)
    assert (reading.values == UNSURE).float().mean() > 0.97
    assert reading.present.float().mean() < 0.05


@pytest.mark.parametrize("level", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_blank_pictures_get_no_answer(level):
    reading = probe().read(torch.full((1, 3, PIXELS, PIXELS), level))
    assert not reading.present
    assert (reading.values == UNSURE).all()


def test_of_two_blended_scenes_it_reads_what_they_share(coded):
    plate = blended(coded, torch.full((COUNT,), 0.5))
    reading = probe().read(plate.pictures)
    unreadable = plate.values == UNSURE
    assert (reading.values == UNSURE)[unreadable].float().mean() > 0.9


def test_behind_a_curtain_there_is_nothing(coded):
    reading = probe().read(covered(coded, torch.ones(COUNT)).pictures)
    assert (reading.values == UNSURE).all()
    assert not reading.present.any()


def test_damage_is_drawn_from_the_generator_alone(coded):
    one, other = (damaged(coded, torch.Generator().manual_seed(4)).pictures for _ in range(2))
    assert torch.equal(one, other)
    assert 0 <= one.min() <= one.max() <= 1


@pytest.mark.nightly
def test_motion_and_speed_are_read_off_places():
    seeds = range(300, 400)
    clip = film([script("a thing")] * 100, seeds, 15)
    moves = travel(probe().read(codec().decode(codec().encode(clip.pixels))))
    motion = clip.looks[:, 0, NAMES.index("motion")]
    assert (moves.motion == motion).float().mean() > 0.97
    moving = motion > 0
    asked = torch.tensor(SPEEDS)[clip.looks[:, 0, NAMES.index("speed")]]
    assert ((moves.speed / asked - 1).abs()[moving] < 0.2).float().mean() > 0.95
    assert (moves.pace()[moving] == clip.looks[moving, 0, NAMES.index("speed")]).float().mean() > 0.97
    assert (moves.pace()[~moving] == UNSURE).float().mean() > 0.95


def test_without_an_object_motion_is_unsure():
    nothing = Reading(
        torch.zeros(2, 5, 6), torch.zeros(2, 5, 6), torch.zeros(2, 5, 2), torch.zeros(2, 5, dtype=torch.bool)
    )
    moves = travel(nothing)
    assert (moves.motion == UNSURE).all()
    assert moves.speed.isnan().all()
    assert (moves.pace() == UNSURE).all()


def test_most_frames_decide_and_unsure_ones_do_not_vote():
    votes = torch.tensor([[[1], [1], [2]], [[UNSURE], [UNSURE], [3]], [[UNSURE], [UNSURE], [UNSURE]]])
    assert agreed(votes).tolist() == [[1], [3], [UNSURE]]


def test_names_and_values_are_the_worlds():
    clip = film([script("a thing")], [77], 1)
    reading = probe().read(clip.pixels)
    named = {name: ATTRIBUTES[name][int(reading.values[0, 0, column])] for column, name in enumerate(SEEN)}
    assert named == {name: look(77)[name] for name in SEEN}
