import importlib.util
import os
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from harness.films import contract, view_files
from harness.films.contract import Film, Span
from suites.viewers.perceptual import run as perceptual
from suites.viewers.perceptual.flow import Flow, dynamic, longest, starts
from suites.viewers.perceptual.lpips_distance import Lpips
from suites.viewers.perceptual.weights import allow_torchvision
from suites.viewers.video_file import middles, pictures
from tests.suites.filmed import texture, write

WINDOWS = (Span(0, 12, 3), Span(12, 24, 6), Span(24, 25, 7))
# In the viewer's own environment, of which `nox -s viewers` tells, nothing is skipped: what is missing there fails.
OWN = "HORIZON_VIEWER" in os.environ
needs_opencv = pytest.mark.skipif(
    not OWN and importlib.util.find_spec("cv2") is None, reason="needs opencv-python-headless: nox -s viewers"
)
needs_torchvision = pytest.mark.skipif(
    not OWN and importlib.util.find_spec("lpips") is None, reason="needs lpips, torchvision: nox -s viewers"
)


def filmed(folder, shown, name="one", **more):
    path = write(folder / f"{name}.mkv", shown, rate=more.get("rate", 8))
    made = Film(name, path, contract.digest(path), "drift", "steady", len(shown), 8.0, 8, WINDOWS, ())
    return replace(made, **more)


@pytest.mark.parametrize(
    ("start", "end", "step", "frames"),
    [
        (0, 8, 2, [0, 2, 4]),
        (33, 41, 2, [33, 35, 37]),
        (0, 3, 2, [0]),
        (0, 2, 2, []),
        (0, 256, 2, list(range(0, 254, 4))),
    ],
)
def test_pairs_lie_in_their_window_and_are_at_most_64(start, end, step, frames):
    found = starts(start, end, step)
    assert len(found) <= 64
    assert all(start <= frame and frame + step < end for frame in found)
    assert found == frames or len(found) == 64 == len(set(found))


def test_the_longest_five_percent_of_a_flow():
    flow = np.zeros((10, 20, 2), np.float32)
    flow[0, :10] = (3, 4)
    assert longest(flow) == 5
    flow[5] = (0.3, 0.4)
    assert longest(flow) == 5
    flow[0, :5] = 0
    assert longest(flow) == pytest.approx(2.75)


def test_the_verdict_of_dynamic():
    assert dynamic([7] * 4 + [0] * 12, 256) == 1
    assert dynamic([7] * 3 + [0] * 13, 256) == 0
    # The threshold grows with the picture, and is not met by what is equal to it.
    assert dynamic([7] * 16, 512) == 0
    assert dynamic([6] * 16, 256) == 0
    assert dynamic([7], 256) == 1
    assert dynamic([], 256) is None


def test_flow_is_measured_over_an_eighth_of_a_second_within_a_window(tmp_path, monkeypatch):
    shown = [np.full((32, 32, 3), number * number, np.uint8) for number in range(16)]
    film = filmed(tmp_path, shown, rate=16.0, windows=(Span(0, 7, 2), Span(7, 16, 4)))
    instrument = Flow("cpu")
    seen = []
    monkeypatch.setattr(instrument, "shown", lambda picture: int(picture.mean()))
    monkeypatch.setattr(
        instrument,
        "between",
        lambda before, after: seen.append((before, after)) or np.full((32, 32, 2), (after - before, 0), np.float32),
    )
    # From frame a to a + 2 it "moves" by 4 a + 4 pixels.
    assert instrument.look("flow", film).samples == ((2, 4 + 4 * 2), (4, 4 + 4 * 10))
    assert instrument.look("dynamic", film).samples == ((2, 1), (4, 1))
    # Both are read off the same pairs.
    assert seen == [(a * a, (a + 2) ** 2) for a in (0, 2, 4, 7, 9, 11, 13)]


@needs_opencv
def test_a_frozen_video_does_not_move_and_a_moving_one_does(tmp_path):
    still, moving = texture(64, 96), [np.roll(texture(64, 96), 4 * number, 1) for number in range(25)]
    noise = np.random.default_rng(0).normal(0, 2, (25, 64, 96, 3))
    noisy = [np.uint8((still + each).clip(0, 255)) for each in noise]
    shown = {"frozen": [still] * 25, "moving": moving, "noisy": noisy}
    films = [filmed(tmp_path, pictures_, name) for name, pictures_ in shown.items()]
    contract.write_films(tmp_path, films)
    perceptual.main([str(tmp_path / "films.json"), "--metric", "flow", "--metric", "dynamic"])
    frozen, moved, noise = (
        view_files.read_view(view_files.view_path(tmp_path, "perceptual", film.id)) for film in films
    )
    assert frozen.parts["dynamic"].samples == ((3, 0), (6, 0), (7, None))
    assert noise.parts["dynamic"].samples == ((3, 0), (6, 0), (7, None))
    assert moved.parts["dynamic"].samples == ((3, 1), (6, 1), (7, None))
    assert all(value < 0.1 for _, value in frozen.parts["flow"].samples[:2])
    assert [value for _, value in moved.parts["flow"].samples[:2]] == pytest.approx([4, 4], rel=0.15)
    assert moved.protocol["flow"]["method"] == "farneback"


@needs_opencv
def test_flow_is_in_pixels_of_the_videos_own_size(tmp_path):
    large = [np.roll(texture(512, 768), 20 * number, 1) for number in range(4)]
    film = filmed(tmp_path, large, windows=(Span(0, 4, 1),))
    ((_, value),) = Flow("cpu").look("flow", film).samples
    assert value == pytest.approx(20, rel=0.1)


@needs_torchvision
def test_raft_is_used_where_its_weights_are(tmp_path, monkeypatch):
    allow_torchvision()
    from torchvision.models.optical_flow import raft_large

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert not Flow("cpu").raft
    torch.manual_seed(0)
    network = raft_large(weights=None).eval()
    weights = Flow("cpu").weights
    weights.parent.mkdir(parents=True)
    torch.save(network.state_dict(), weights)
    shown = [np.roll(texture(100, 132), 3 * number, 1) for number in range(3)]
    film = filmed(tmp_path, shown, windows=(Span(0, 3, 1),))
    instrument = Flow("cpu")
    assert instrument.remedy() is None
    assert instrument.protocol("flow", film)["weights"] == contract.digest(weights)
    ((_, value),) = instrument.look("flow", film).samples
    # A side of 100 is filled up to 128 and one of 132 to 136, by repeating what is at the edge.
    lengths = []
    for one, other in pairwise(shown):
        filled = [np.pad(each, ((0, 28), (0, 4), (0, 0)), mode="edge") for each in (one, other)]
        tensors = [torch.from_numpy(each).permute(2, 0, 1)[None] / 127.5 - 1 for each in filled]
        with torch.no_grad():
            flow = network(*tensors, num_flow_updates=20)[-1][0, :, :100, :132]
        ordered = flow.square().sum(0).sqrt().flatten().sort(descending=True).values
        lengths.append(float(ordered[:660].mean()))
    assert value == pytest.approx(np.mean(lengths), rel=1e-4)
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(OSError, match="not RAFT's weights"):
        Flow("cpu").look("flow", film)


@needs_torchvision
def test_lpips_is_the_mean_over_pairs_of_frames(tmp_path):
    shown = [np.roll(texture(64, 80, number // 13), number, 1) for number in range(25)]
    film = filmed(tmp_path, shown, reference=16)
    contract.write_films(tmp_path, [film])
    perceptual.main([str(tmp_path / "films.json"), "--metric", "lpips", "--pnet-rand"])
    view = view_files.read_view(view_files.view_path(tmp_path, "perceptual", "one"))
    assert view.protocol["lpips"]["weights"] == "random"
    network = Lpips("cpu", random=True).network
    tensors = dict(pictures(film.path, range(25)))
    tensors = {number: torch.from_numpy(each).permute(2, 0, 1)[None] / 127.5 - 1 for number, each in tensors.items()}
    expected = []
    for span in WINDOWS:
        pairs = [(frame, first) for frame in middles(span.start, span.end, 8) for first in (4, 12) if frame != first]
        with torch.no_grad():
            values = [float(network(tensors[frame], tensors[first])) for frame, first in pairs]
        expected.append(sum(values) / len(values))
    found = dict(view.parts["lpips"].samples)
    assert list(found) == [3, 6, 7]
    assert list(found.values()) == pytest.approx(expected, abs=2e-6)
    assert len({round(value, 5) for value in expected}) == 3


@needs_torchvision
def test_lpips_weights_that_are_damaged_are_not_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *given, **more: pytest.fail("it was fetched"))
    instrument = Lpips("cpu")
    assert instrument.remedy().startswith("needs AlexNet's weights")
    instrument.weights.parent.mkdir(parents=True)
    instrument.weights.write_bytes(b"not weights")
    with pytest.raises(OSError, match="not AlexNet's weights"):
        instrument.look("lpips", filmed(tmp_path, [texture()] * 25))
