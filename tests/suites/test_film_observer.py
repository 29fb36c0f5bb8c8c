"""Films and their curves: what counts as alive, what is compared with what, and going on after a stop."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.registry import strategy
from harness.suite import Place, Row, Task
from harness.verify.bench import Workbench
from suites.observers.film import Camera, edges
from suites.observers.picture_metrics import (
    LARGE,
    Sharpness,
    SharpnessOfPairs,
    Ssim,
    difference,
    period,
    squared_difference,
)
from suites.observers.structural import SsimOfPairs
from tests.rollout.test_sample import frames_in

RATE, HEIGHT, WIDTH = 16.0, 24, 32
FRAMES = 30


class Shown:
    """A codec whose decoder shows given pictures [B, T, 3, H, W], whatever the latents are: 4 n - 3 of them."""

    frames_per_second = RATE

    def __init__(self, pictures):
        self.pictures, self.at = pictures, 0

    def decoder(self):
        return Shown(self.pictures)

    def __call__(self, latents):
        start, self.at = self.at, self.at + 4 * latents.shape[1] - 3 * (self.at == 0)
        return self.pictures[:, start : self.at]

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]

    def footprint(self, batch, latent_size):
        return 0


def backbone(pictures):
    model = Workbench(strategy("sliding_window")).backbone.model
    return Backbone(model=model, name="filmed", latent_size=(4, 4), codec=Shown(pictures))


def task(frames=FRAMES, rows=1):
    return Task("steady", frames, 0, tuple(Row(seed, ((0, "a fox"),)) for seed in range(rows)))


def filmed(folder, pictures, frames=FRAMES, lossless=False, stop=None):
    """The camera after a video of chunks of three; stopped and taken up by another one after `stop` chunks."""
    asked, place = task(frames, len(pictures)), Place(folder, {"campaign": "c"}, lossless)
    camera = Camera(backbone(pictures), asked, place)
    for number in range(frames // 3):
        if number == stop:
            state = camera.state_dict()
            camera.see(torch.zeros(len(pictures), 3, 4, 4, 4), 3 * number)  # lost with the process
            camera = Camera(backbone(pictures), asked, place)
            camera.load_state_dict(state)
        camera.see(torch.zeros(len(pictures), 3, 4, 4, 4), 3 * number)
    return camera


def of(camera, metric):
    """A metric's values by latent frame, of the first row."""
    return {sample.at_frame: sample.value for sample in camera.samples() if sample.metric == metric and sample.row == 0}


def noise(frames=FRAMES, rows=1, seed=0) -> Tensor:
    return torch.rand(rows, 4 * frames - 3, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def test_windows_begin_with_what_the_model_was_trained_on():
    assert edges(30) == [21, 30]
    assert edges(240)[:4] == [21, 30, 45, 60]
    assert edges(240)[-1] == 240
    assert edges(12) == [12]
    assert edges(1000)[-3:] == [900, 960, 1000]
    assert all(later > end for end, later in zip(edges(345_600), edges(345_600)[1:], strict=False))


@pytest.mark.parametrize(
    ("video", "alive"),
    [
        (noise(), 1.0),
        (noise()[:, :1].expand(-1, 4 * FRAMES - 3, -1, -1, -1), 0.0),
        (noise()[:, :24].repeat(1, 5, 1, 1, 1)[:, : 4 * FRAMES - 3], 0.0),
        (torch.full((1, 4 * FRAMES - 3, 3, HEIGHT, WIDTH), 0.5) + 0.004 * noise(), 0.0),
    ],
    ids=["alive", "frozen", "a loop of a second and a half", "blank"],
)
def test_what_does_not_move_is_not_alive(tmp_path, video, alive):
    assert of(filmed(tmp_path, video), "guard") == {21: alive, 30: alive}


def test_a_video_that_freezes_is_noticed_when_it_does(tmp_path):
    video = noise(60)
    video[:, 4 * 30 - 3 :] = video[:, 4 * 30 - 4 : 4 * 30 - 3]
    guard = of(filmed(tmp_path, video, 60), "guard")
    assert guard == {21: 1.0, 30: 1.0, 45: 0.0, 60: 0.0}


def test_pictures_are_compared_with_those_of_the_first_five_seconds(tmp_path):
    video = noise()
    found = of(filmed(tmp_path, video), "psnr")
    # One a second, in its middle; all of the beginning stand for it.
    seconds = [8, 24, 40, 56, 72, 88, 104]
    assert seconds[4] < 81 <= seconds[5]
    later, first = video[0, seconds[5:]], video[0, seconds[:5]]
    off = np.mean([float((a - b).square().mean()) for a in later for b in first])
    assert found[30] == pytest.approx(-10 * math.log10(off), abs=1e-3)
    assert found[21] > found[30]


def test_a_jump_between_chunks_is_a_seam(tmp_path):
    steady = torch.linspace(0, 1, 4 * FRAMES - 3)[None, :, None, None, None].expand(1, -1, 3, HEIGHT, WIDTH)
    smooth = of(filmed(tmp_path / "a", 0.5 * steady), "seam")
    steps = (torch.arange(4 * FRAMES - 3) + 3) // 12
    jumping = 0.25 * steady + 0.05 * steps[None, :, None, None, None]
    seams = of(filmed(tmp_path / "b", jumping), "seam")
    assert all(abs(value) < 1e-5 for value in smooth.values())
    assert all(value == pytest.approx(0.05, abs=1e-4) for value in seams.values())


def test_every_row_has_a_film_that_holds_its_pictures(tmp_path):
    video = noise(6, rows=2)
    camera = filmed(tmp_path, video, frames=6, lossless=True)
    for row in range(2):
        lossless = torch.from_numpy(np.stack(frames_in(tmp_path / f"{row}.mkv")))
        assert torch.equal(lossless, (255 * video[row]).round().to(torch.uint8).permute(0, 2, 3, 1))
        assert len(frames_in(tmp_path / f"{row}.mp4")) == 21
    assert camera.pictures()["strip"].shape[:2] == (2, 2)


@pytest.mark.parametrize("stop", [1, 7, 9])
def test_a_camera_that_goes_on_has_the_same_film_and_the_same_curves(tmp_path, stop):
    video = noise(seed=stop)
    whole, again = filmed(tmp_path / "a", video, lossless=True), filmed(tmp_path / "b", video, lossless=True, stop=stop)
    assert again.samples() == whole.samples()
    assert (np.stack(frames_in(tmp_path / "a/0.mkv")) == np.stack(frames_in(tmp_path / "b/0.mkv"))).all()
    assert len(frames_in(tmp_path / "b/0.mp4")) == 4 * FRAMES - 3


def test_large_pictures_are_reduced_for_the_filmstrip(tmp_path):
    video = torch.rand(1, 9, 3, 480, 832)
    strip = filmed(tmp_path, video, frames=3).pictures()["strip"]
    assert strip.shape == (1, 1, 3, 120, 208)


@pytest.mark.parametrize("frames", [78, 138])
def test_a_last_window_between_two_pictures_that_are_measured_has_its_own_last_one(tmp_path, frames):
    found = of(filmed(tmp_path, noise(frames), frames), "psnr")
    assert list(found) == edges(frames)
    assert all(value is not None for value in found.values())


def test_the_guard_works_where_pictures_are_made():
    """A device of its own tells a tensor that was made somewhere else."""
    assert period(torch.rand(1, 20, 3, 4, 4, device="meta"), longest=4).device.type == "meta"


def test_a_state_from_another_device_is_moved_to_where_pictures_are(tmp_path):
    camera = filmed(tmp_path, noise())
    curves = camera.curves
    curves.window = [noise(3)]
    curves.move(torch.device("meta"))
    held = [*curves.window, *(change for steps in curves.steps for change in steps), curves.last, *curves.recent]
    assert {x.device.type for x in (*held, curves.reference)} == {"meta"}


def test_sharpness_of_all_pairs_together_is_that_of_each_pair():
    shown, known = noise(4)[:, :5], noise(4, seed=1)[:, :3] * torch.tensor([1.0, 0.5, 0.0])[:, None, None, None]
    metric = Sharpness()
    for references in (known[:, :2], known):
        pairs = [metric(shown, one[:, None].expand_as(shown)) for one in references.unbind(1)]
        expected = torch.stack(pairs).mean((0, 2))
        assert SharpnessOfPairs(references)(shown).tolist() == pytest.approx(expected.tolist(), rel=1e-5, nan_ok=True)


def test_large_pictures_are_compared_as_small_ones_are():
    one, other = torch.rand(1, 3, 3, 256, 256), torch.rand(1, 1, 3, 256, 256)
    assert one[0, 0].numel() >= LARGE
    off = one - other
    assert torch.allclose(difference(one, other), off.abs().mean((2, 3, 4)), rtol=1e-5)
    assert torch.allclose(squared_difference(one, other), off.square().mean((2, 3, 4)), rtol=1e-5)


def test_ssim_of_all_pairs_together_is_that_of_each_pair():
    shown, known = noise(4)[:, :5], noise(4, seed=1)[:, :3]
    blurred = torch.nn.functional.avg_pool2d(shown[0], 5, 1, 2)[None]
    for one, other in ((shown, known), (blurred, known), (blurred, blurred[:, :2]), (torch.ones_like(shown), known)):
        expected = torch.stack([Ssim()(one, each[:, None].expand_as(one)) for each in other.unbind(1)]).mean((0, 2))
        assert SsimOfPairs(other)(one).tolist() == pytest.approx(expected.tolist(), abs=1e-5)
