import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from harness import registry
from harness.suite import Metric, PictureMetric
from suites.observers.picture_metrics import ColourDistance, Sharpness, Ssim, changes, period, picture_metrics


@pytest.fixture
def pictures():
    return torch.rand(2, 6, 3, 24, 24, generator=torch.Generator().manual_seed(0))


def test_sharpness_is_relative_to_the_reference():
    picture = torch.zeros(1, 1, 3, 4, 4)
    picture[..., 2:] = 1
    assert Sharpness()(picture, picture).item() == 1
    # Half the contrast, half as sharp; an edge in both directions is twice as sharp.
    assert Sharpness()(0.5 * picture, picture).item() == pytest.approx(0.5)
    assert Sharpness()(picture + picture.mT, picture).item() == pytest.approx(2)


def test_sharpness_does_not_apply_beside_a_reference_of_one_colour():
    flat = torch.ones(1, 1, 3, 4, 4)
    assert Sharpness()(torch.rand(1, 1, 3, 4, 4), flat).isnan().all()


def test_colours_apart():
    white, black = torch.ones(1, 5, 3, 4, 4), torch.zeros(1, 5, 3, 4, 4)
    assert torch.allclose(ColourDistance()(white, black), torch.ones(1, 5))
    assert torch.equal(ColourDistance()(white, white), torch.zeros(1, 5))


def test_similarity_is_one_only_for_the_same(pictures):
    assert torch.allclose(Ssim()(pictures, pictures), torch.ones(2, 6), atol=1e-5)
    assert (Ssim()(pictures, pictures.roll(1, 0)) < 0.5).all()


@pytest.mark.parametrize("sides", [(32, 32), (24, 40), (11, 6)])
def test_similarity_is_that_of_torchmetrics(sides):
    generator = torch.Generator().manual_seed(1)
    one = torch.rand(5, 7, 3, *sides, generator=generator)
    other = (one + 0.2 * torch.randn(one.shape, generator=generator)).clamp(0, 1)
    expected = structural_similarity_index_measure(
        one.flatten(0, 1), other.flatten(0, 1), data_range=1.0, reduction="none"
    )
    assert torch.allclose(Ssim()(one, other).flatten(), expected, atol=1e-5)


class Mine(PictureMetric):
    metric = Metric("1", "lower", "mine")

    def __call__(self, pictures, reference):
        return pictures.mean((2, 3, 4))


class Absent(Mine):
    def remedy(self):
        return "needs weights; fetch them with: mine get"


def test_metrics_of_third_parties_come_in_and_those_that_cannot_run_say_why(monkeypatch):
    found, load = registry.found, registry.load
    more = {"mine": Mine, "absent": Absent}
    monkeypatch.setattr(registry, "found", lambda group: {**found(group), **(more if group == "metrics" else {})})
    monkeypatch.setattr(registry, "load", lambda group, name: more.get(name) or load(group, name))
    can, cannot = picture_metrics()
    assert set(can) == {"ssim", "sharpness", "colour_distance", "mine"}
    assert cannot == {"absent": "needs weights; fetch them with: mine get"}
    suite = registry.load("suites", "drift")()
    assert suite.metrics["mine"] is Mine.metric
    assert suite.skipped() == cannot


def test_changes_are_means_over_a_frame(pictures):
    expected = (pictures[1, 4] - pictures[1, 3]).abs().mean()
    assert changes(pictures)[1, 3] == pytest.approx(float(expected))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_loops_are_found(pictures, frames):
    looped = pictures[:, :frames].repeat(1, 12 // frames, 1, 1, 1)
    assert period(looped, longest=6).tolist() == [frames, frames]
    noisy = (looped + 0.1 * torch.rand_like(looped)).clamp(0, 1)
    assert period(noisy, longest=6).tolist() == [0, 0]


def test_a_video_that_moves_has_no_period(pictures):
    assert period(pictures, longest=6).tolist() == [0, 0]
    assert period(pictures[:, :1], longest=6).tolist() == [0, 0]
