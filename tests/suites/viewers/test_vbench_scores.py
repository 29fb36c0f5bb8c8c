"""The arithmetic of VBench, against numbers that were worked out by hand and triples that papers print."""

from itertools import pairwise

import pytest

from suites.viewers.vbench import scores as vbench

RAW = {
    "subject_consistency": 0.9,
    "background_consistency": 0.95,
    "temporal_flickering": 0.98,
    "motion_smoothness": 0.99,
    "aesthetic_quality": 0.6,
    "imaging_quality": 0.7,
    "dynamic_degree": 0.4,
    "object_class": 0.9,
    "multiple_objects": 0.8,
    "human_action": 0.96,
    "color": 0.88,
    "spatial_relationship": 0.7,
    "scene": 0.5,
    "appearance_style": 0.2,
    "temporal_style": 0.24,
    "overall_consistency": 0.26,
}


@pytest.mark.parametrize(
    ("dimension", "raw", "by_hand"),
    [
        ("subject_consistency", 0.9, 0.7538 / 0.8538),
        ("background_consistency", 0.95, 0.6885 / 0.7385),
        ("temporal_flickering", 0.98, 0.3507 / 0.3707),
        ("motion_smoothness", 0.99, 0.284 / 0.2915),
        ("scene", 0.4111, 0.5),
        ("appearance_style", 0.0009, 0.0),
        ("temporal_style", 0.364, 1.0),
        ("overall_consistency", 0.182, 0.5),
        ("dynamic_degree", 0.4, 0.4),
        ("color", 0.88, 0.88),
    ],
)
def test_raw_values_on_the_scale_of_scores(dimension, raw, by_hand):
    assert vbench.normalised(dimension, raw) == pytest.approx(by_hand, abs=1e-12)


def test_scores_worked_out_by_hand():
    # 0.882877 + 0.932295 + 0.946048 + 0.974271 + 0.6 + 0.7 + 0.5 * 0.4 = 5.235491, over 6.5
    # 0.9 + 0.8 + 0.96 + 0.88 + 0.7 + 0.608125 + 0.699579 + 0.659341 + 0.714286 = 6.921330, over 9
    found = vbench.scores(RAW)
    assert found["quality_score"] == pytest.approx(80.54602, abs=1e-4)
    assert found["semantic_score"] == pytest.approx(76.90367, abs=1e-4)
    assert found["total_score"] == pytest.approx((4 * 80.54602 + 76.90367) / 5, abs=1e-4)
    # 0.6 + 0.95 + 0.7 + 0.99 + 0.9 + 0.98 = 5.12, and with 0.4 in place of 0.98, 4.54
    assert found["plain_mean_memrope"] == pytest.approx(512 / 6)
    assert found["plain_mean_videomla"] == pytest.approx(454 / 6)
    assert set(found) == set(vbench.SCORES)


def test_the_best_of_everything_is_a_hundred():
    best = {name: vbench.RANGES.get(name, (0, 1))[1] for name in RAW}
    found = vbench.scores(best)
    assert [found[name] for name in ("quality_score", "semantic_score", "total_score")] == pytest.approx([100] * 3)


@pytest.mark.parametrize("missing", sorted(RAW))
def test_a_missing_dimension_leaves_no_score_that_needs_it(missing):
    found = vbench.scores({name: value for name, value in RAW.items() if name != missing})
    whole = vbench.scores(RAW)
    gone = {"total_score", "quality_score" if missing in vbench.QUALITY else "semantic_score"}
    gone |= {name for name, parts in vbench.PLAIN_MEANS.items() if missing in parts}
    assert set(found) == set(whole) - gone
    assert all(whole[name] == value for name, value in found.items())


@pytest.mark.parametrize(
    ("printed", "quality", "semantic"),
    [
        (84.87, 86.97, 76.47),  # LongLive, 5 s
        (84.31, 85.07, 81.28),  # Self-Forcing, 5 s
        (75.29, 80.77, 53.37),  # SkyReels-V2, 30 s, VBench-Long
        (81.95, 83.61, 75.32),  # FramePack, 30 s
        (81.59, 83.82, 72.70),  # Self-Forcing, 30 s
        (83.52, 85.44, 75.82),  # LongLive, 30 s
    ],
)
def test_totals_that_papers_print(printed, quality, semantic):
    assert vbench.total(quality, semantic) == pytest.approx(printed, abs=0.0101)


def test_mapping_is_linear_between_entries_and_flat_beyond():
    table = [(0.0, 0.0), (0.5, 0.8), (1.0, 1.0)]
    asked = (-0.1, 0.0, 0.25, 0.5, 0.75, 1.0, 1.1)
    assert [vbench.mapped(x, table) for x in asked] == pytest.approx([0, 0, 0.4, 0.8, 0.9, 1, 1])


def test_the_published_tables_rise_from_nothing_to_one():
    for table in vbench.tables()["mapping"].values():
        assert (table[0], table[-1], len(table)) == ([0.0, 0.0], [1.0, 1.0], 101)
        assert all(one[0] < two[0] and one[1] <= two[1] for one, two in pairwise(table))
    assert set(vbench.tables()["clip_seconds"]) == set(RAW)


def test_in_clip_and_across_count_half_each():
    # Subject: 0.50 -> 0.932674917380015, 0.51 -> 0.933938855974875; half way 0.933306886677445.
    assert vbench.combined("subject_consistency", 0.9, 0.505) == pytest.approx(0.9166534433, abs=1e-9)
    # Background: 0.80 -> 0.964157551579041.
    assert vbench.combined("background_consistency", 0.9, 0.8) == pytest.approx(0.9320787758, abs=1e-9)


def test_one_clip_stands_alone():
    assert vbench.combined("subject_consistency", 0.9, None) == 0.9
    assert vbench.combined("subject_consistency", 0.9, 0.0) == 0.9
    with pytest.raises(KeyError):
        vbench.combined("motion_smoothness", 0.9, 0.5)


def test_two_averages_over_a_set_of_videos():
    by_clip, by_video = vbench.averages({"long": [1.0, 0.8, 0.6], "short": [0.2], "moving": [None]})
    assert by_clip == pytest.approx(2.6 / 4)
    assert by_video == pytest.approx((0.8 + 0.2) / 2)
    assert vbench.averages({"moving": [None]}) == (None, None)


def test_every_dimension_is_described():
    assert set(RAW) <= set(vbench.DIMENSIONS)
    assert set(vbench.QUALITY) | set(vbench.SEMANTIC) == set(RAW)
    for unit, better, about, low, high in (*vbench.DIMENSIONS.values(), *vbench.SCORES.values()):
        assert unit in ("share", "cosine", "%", "1")
        assert better == "higher"
        assert about
        assert (low is None) == (high is None)
