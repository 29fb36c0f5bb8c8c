"""Small films of rollouts in a known world: size, length, and the same pictures after a crash."""

import av
import pytest
import torch

from harness.films.small import MOST, NAME, SHARP, SmallFilm


class Plain:
    """Latents are pictures; counts what it decoded, as a decoder with a state would."""

    def __init__(self):
        self.frames = 0

    def __call__(self, latents):
        self.frames += latents.shape[1]
        return latents

    def state_dict(self):
        return {"frames": self.frames}

    def load_state_dict(self, state):
        self.frames = state["frames"]


def scene(frames, rows=2):
    """A square that moves over a plain ground, another colour in each row; [rows, frames, 3, 32, 32]."""
    pictures = torch.full((rows, frames, 3, 32, 32), 0.2)
    for at in range(frames):
        for row in range(rows):
            pictures[row, at, row % 3, 8:16, at % 24 : at % 24 + 8] = 0.9
    return pictures


def filmed(folder, pictures, chunk=3, stop=None):
    film = SmallFilm(Plain(), pictures.shape[1], 4.0)
    for start in range(0, pictures.shape[1], chunk):
        if start == stop:
            state, film = film.state_dict(), SmallFilm(Plain(), pictures.shape[1], 4.0)
            film.load_state_dict(state)
        film.see(pictures[:, start : start + chunk])
    film.write(folder)
    return folder / NAME.format(row=0)


def read(path):
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        rate = stream.average_rate
        return torch.stack([torch.from_numpy(f.to_ndarray(format="rgb24")) for f in file.decode(video=0)]), rate


@pytest.mark.parametrize(("frames", "kept", "rate"), [(84, 84, 4), (240, 120, 2), (960, 120, 0.5), (963, 107, 4 / 9)])
def test_a_film_lasts_as_long_as_its_video_and_stays_small(tmp_path, frames, kept, rate):
    path = filmed(tmp_path, scene(frames))
    pictures, told = read(path)
    assert (len(pictures), float(told)) == (kept, pytest.approx(rate))
    assert kept <= MOST
    assert pictures.shape[1:3] == (32 * SHARP, 32 * SHARP)
    assert path.stat().st_size < 20_000


def test_it_shows_the_first_row_in_its_colours(tmp_path):
    pictures, _ = read(filmed(tmp_path, scene(84)))
    (red, green, blue) = pictures[10, 24, 28].tolist()
    assert red > 200
    assert max(green, blue) < 90


def test_a_film_that_went_on_after_a_crash_shows_the_same(tmp_path):
    whole = filmed(tmp_path / "a", scene(240))
    resumed = filmed(tmp_path / "b", scene(240), stop=120)
    (one, rate), (other, again) = read(whole), read(resumed)
    assert (one.shape, rate) == (other.shape, again)
    # The encoder may choose otherwise in places where that is not seen.
    assert (one.float() - other.float()).abs().mean() < 1


def test_nothing_seen_is_no_file(tmp_path):
    SmallFilm(Plain(), 84, 4.0).write(tmp_path)
    assert list(tmp_path.iterdir()) == []
