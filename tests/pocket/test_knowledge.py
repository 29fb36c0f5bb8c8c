"""The loss counts what the visible frames and the prompt determine."""

import pytest
import torch

from harness.pocket.scenes import script
from harness.pocket.training.knowledge import Knowledge, visible_weights
from harness.pocket.world import NAMES, film

COLOUR, SHAPE, ACCENT = (NAMES.index(name) for name in ("colour", "shape", "accent"))
EVOLVING = script("a red disc slides", (6, "now a blue thing"), (12, "now a thing"), (18, "back to a red disc"))


def known(scenes, frames, visible, seed=1):
    """Return the attributes and the place that each chunk can know if it sees the past frames that `visible` lists."""
    opens = torch.zeros(1, frames // 3, dtype=torch.bool)
    opens[0, 0] = True
    knowledge = Knowledge.of([scenes], [seed], frames, 3, opens)
    times = torch.full((1, frames // 3, frames), torch.nan)
    for chunk in range(frames // 3):
        for frame in visible(chunk * 3):
            times[0, chunk, frame] = frame - chunk * 3
    attributes, place = knowledge.known(times)
    return attributes[0], place[0]


def test_with_everything_in_sight_everything_is_known():
    attributes, place = known(EVOLVING, 24, range)
    assert attributes.all()
    assert place.all()


def test_a_window_that_ends_in_the_scene_shows_its_state_and_loses_what_was_before():
    scenes = script("a red disc", (6, "cut to a blue thing"), (12, "now a thing"), (18, "back to a red disc"))
    attributes, place = known(scenes, 24, lambda start: range(max(0, start - 3), start))
    # Each chunk sees its predecessor; the cut and the return are to what is not in sight, and say a part of it.
    assert attributes[[0, 1, 3, 4, 5, 7]].all()
    assert attributes[2].tolist() == [name == "colour" for name in NAMES]
    assert attributes[6].tolist() == [name in ("shape", "colour") for name in NAMES]
    assert place.all()


def test_only_the_first_frames_tell_nothing_of_a_change():
    attributes, place = known(EVOLVING, 18, lambda start: range(min(3, start)))
    assert attributes[2, COLOUR]  # it is said
    assert not attributes[4, COLOUR]
    assert attributes[4, SHAPE]
    assert not place[4]  # where the object is after nine frames, no early frame shows


def test_of_two_values_in_sight_the_later_one_must_be_the_right_one():
    late = known(EVOLVING, 18, range)[0]
    assert late[5, COLOUR]
    knowledge = Knowledge.of([EVOLVING], [1], 18, 3, torch.zeros(1, 6, dtype=torch.bool))
    times = torch.full((1, 6, 18), torch.nan)
    times[0, 5, 2], times[0, 5, 14] = -1.0, -5.0
    assert not knowledge.known(times)[0][0, 5, COLOUR]


def test_a_fading_or_half_covered_frame_shows_no_scene():
    scenes = script("a red disc", (3, "now a blue thing"), (6, "now a thing"))
    for frame, shows in ((3, False), (4, False), (5, True)):
        attributes, _ = known(scenes, 9, lambda start, frame=frame: [frame] if start > frame else [])
        assert bool(attributes[2, COLOUR]) == shows


@pytest.mark.parametrize("lost", ["accent", "colour", "motion"])
def test_weights_leave_out_what_depends_on_what_is_not_known(lost):
    clip = film([script("a red disc waits")], [1], 3)
    attributes = torch.ones(1, 1, 8, dtype=torch.bool)
    attributes[..., NAMES.index(lost)] = False
    weights = visible_weights(clip, 8, attributes, torch.ones(1, 1, dtype=torch.bool))
    assert weights.shape == (1, 3, 1, 8, 8)
    middle, corner = weights[0, 0, 0, 4, 4], weights[0, 0, 0, 0, 0]
    assert middle == 0
    assert corner == (lost == "colour")


def test_a_curtain_counts_whatever_is_known():
    clip = film([script("a disc", (3, "a curtain"))], [1], 9)
    nothing = torch.zeros(1, 3, 8, dtype=torch.bool), torch.zeros(1, 3, dtype=torch.bool)
    weights = visible_weights(clip, 8, *nothing)[0, :, 0, :, 0]
    assert weights[0].sum() == 0
    assert 0 < weights[3].sum() < weights[4].sum() < 8
    assert weights[5:].all()
