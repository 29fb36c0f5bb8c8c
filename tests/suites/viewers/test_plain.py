"""The plain viewer: what it reads of a film, beside plain loops over its pictures."""

from itertools import pairwise

import numpy as np
import pytest

from harness.films.contract import Act, Film, Span, digest, write_films
from harness.films.view_files import read_view, view_path
from suites.film_measures.declared import PLAIN
from suites.viewers.plain.run import main
from suites.viewers.plain.tracks import LUMA, looked_at, reduced
from tests.suites import fakes
from tests.suites.filmed import write

ENDS = (20, 30, 45, 60, 75, 90, 105, 120)


def listed(folder, pictures, name="one", rate=8, chunk=12):
    """A film in a campaign's folder, alone in its list; a latent frame is a quarter of a second."""
    path = folder / name / "film.mkv"
    path.parent.mkdir(parents=True)
    write(path, list(pictures), rate)
    ends = [end for end in ENDS if end * rate // 4 <= len(pictures)]
    windows = tuple(Span(a * rate // 4, b * rate // 4, b) for a, b in zip([0, *ends], ends, strict=False))
    act = (Act(0, len(pictures), ends[-1], "a fox", "smooth"),)
    film = Film(name, path, digest(path), "drift", "steady", len(pictures), rate, windows[0].end, windows, act, "",
                chunk, 9)  # fmt: skip
    write_films(folder, [film])
    return film


def look(folder, pictures, name="one"):
    """Every measure of a film: its samples by name."""
    listed(folder, pictures, name)
    main([str(folder / "films.json")])
    return {metric: part.samples for metric, part in read_view(view_path(folder, "plain", name)).parts.items()}


def test_every_measure_is_there_and_nothing_is_measured_twice(tmp_path, capsys):
    found = look(tmp_path, fakes.living())
    assert set(found) == set(PLAIN)
    assert [at for at, _ in found["alive"]] == list(ENDS)
    assert [at for at, _ in found["loop_pictures"]] == [120]
    capsys.readouterr()
    main([str(tmp_path / "films.json")])
    assert "nothing to look at" in capsys.readouterr().err


def test_levels_are_those_of_the_middle_picture_of_each_second(tmp_path):
    video = fakes.living(1)
    found = look(tmp_path, video)
    values = video.astype(float) / 255
    luma = values @ np.array(LUMA)
    for place, (start, end) in enumerate(zip([0, *ENDS], ENDS, strict=False)):
        # Latent frames are two pictures each; the middle picture of second s is 8 s + 4.
        chosen = [n for n in range(2 * start, 2 * end) if n % 8 == 4]
        expected = {
            "luminance": luma[chosen].mean(),
            "contrast": np.mean([luma[n].std() for n in chosen]),
            "saturation": (values[chosen].max(-1) - values[chosen].min(-1)).mean(),
            "detail": np.abs(np.diff(values[chosen], axis=1)).mean() + np.abs(np.diff(values[chosen], axis=2)).mean(),
        }
        for name, value in expected.items():
            assert found[name][place][1] == pytest.approx(value, abs=1e-5)


def test_a_film_is_reduced_and_its_changes_are_those_of_all_pixels(tmp_path):
    video = np.random.default_rng(0).integers(0, 255, (9, 37, 50, 3)).astype(np.uint8)
    film = listed(tmp_path, np.concatenate([video] * 5))
    track = looked_at(film).track
    values = video.astype(float) / 255
    assert track.changes[:8] == pytest.approx([np.abs(a - b).mean() for a, b in pairwise(values)])
    small, mean = reduced(video[0])
    assert mean == pytest.approx(values[0].mean((0, 1)))
    rows, columns = ([place * side // 16 for place in range(17)] for side in (37, 50))
    for y in (0, 7, 15):
        for x in (0, 9, 15):
            field = values[0][rows[y] : rows[y + 1], columns[x] : columns[x + 1]]
            assert small[y, x] == pytest.approx(field.mean((0, 1)), abs=1e-6)


def test_without_known_chunks_the_pulse_is_skipped_and_says_so(tmp_path):
    listed(tmp_path, fakes.living(), chunk=0)
    main([str(tmp_path / "films.json"), "--metric", "pulse"])
    assert "--chunk" in read_view(view_path(tmp_path, "plain", "one")).parts["pulse"].skipped
