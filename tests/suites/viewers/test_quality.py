"""The quality viewer around packages that are made up: what it asks, and what it says where they are missing."""

import sys

import numpy as np
import pytest

from harness.films.view_files import read_view, view_path
from suites.film_measures.declared import QUALITY
from suites.viewers.quality.run import main
from tests.suites import fakes
from tests.suites.viewers.test_plain import listed

PYIQA = """
def create_metric(name, device, pretrained_model_path):
    assert (name, device) == ("musiq-spaq", "cpu"), name
    assert open(pretrained_model_path).read() == "weights"
    return lambda pictures: 100 * pictures.mean()
"""
HPSV3 = """
class HPSv3RewardInferencer:
    def __init__(self, device, checkpoint_path):
        pass

    def reward(self, prompts, image_paths):
        import av
        with av.open(image_paths[0]) as file:
            picture = next(file.decode(video=0)).to_ndarray(format="rgb24")
        return [[picture.mean() / 255 - len(prompts[0]), 0.1]]
"""
REWARD = """
class VideoVLMRewardInference:
    def __init__(self, path, device, dtype):
        pass

    def reward(self, videos, prompts, use_norm):
        import av
        with av.open(videos[0]) as file:
            count = sum(1 for _ in file.decode(video=0))
        return [{"VQ": count / 10, "MQ": -1.0, "TA": len(prompts[0])}]
"""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Packages of these names, and weights."""
    home = tmp_path / "packages"
    for name, text in (("pyiqa", PYIQA), ("hpsv3", HPSV3), ("qwen_vl_utils", ""), ("peft", "")):
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text(text, encoding="utf-8")
        about = home / f"{name}-9.9.dist-info"
        about.mkdir()
        about.joinpath("METADATA").write_text(f"Name: {name.replace('_', '-')}\nVersion: 9.9\n", encoding="utf-8")
    for name in ("musiq", "hpsv3", "video-reward"):
        (home / f"{name}.weights").write_text("weights", encoding="utf-8")
    (home / "align").mkdir()
    (home / "align" / "inference.py").write_text(REWARD, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(home), *sys.path])
    yield home
    for name in ("pyiqa", "hpsv3", "inference"):
        sys.modules.pop(name, None)


def seen(folder):
    return read_view(view_path(folder, "quality", "one")).parts


def test_every_model_is_asked_for_what_it_knows(tmp_path, packages):
    video = fakes.living()
    film = listed(tmp_path, video)
    words = [f"--{name}={packages / name}.weights" for name in ("musiq", "hpsv3", "video-reward")]
    main([str(tmp_path / "films.json"), *words, f"--video-align={packages / 'align'}"])
    found = seen(tmp_path)
    assert set(found) == set(QUALITY)
    middles = [[n for n in range(span.start, span.end) if n % 8 == 4] for span in film.windows]
    means = [np.mean([video[n].mean() / 255 for n in frames]) for frames in middles]
    assert [value for _, value in found["musiq"].samples] == pytest.approx([100 * mean for mean in means], abs=1e-3)
    # A prompt of five letters.
    assert [value for _, value in found["hpsv3"].samples] == pytest.approx([mean - 5 for mean in means], abs=1e-3)
    assert found["video_reward_vq"].samples == ((20, 4.0), (120, 4.0))
    assert found["video_reward_ta"].samples == ((20, 5.0), (120, 5.0))


def test_what_is_missing_is_said_with_the_command_that_helps(tmp_path, monkeypatch):
    listed(tmp_path, fakes.frozen())
    monkeypatch.setenv("HOME", str(tmp_path))
    main([str(tmp_path / "films.json")])
    found = seen(tmp_path)
    assert "pip install pyiqa" in found["musiq"].skipped
    assert "pip install hpsv3" in found["hpsv3"].skipped
    assert "git clone https://github.com/KwaiVGI/VideoAlign" in found["video_reward_mq"].skipped


def test_missing_weights_have_a_command(tmp_path, packages, monkeypatch):
    listed(tmp_path, fakes.frozen())
    monkeypatch.setenv("HOME", str(tmp_path))
    main([str(tmp_path / "films.json"), "--metric", "musiq"])
    assert "curl --fail --location --create-dirs --output" in seen(tmp_path)["musiq"].skipped
