"""The shipped weights, and rollouts with them."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import registry
from harness.errors import CheckpointError
from harness.pocket import preset
from harness.pocket.readout import judge, play, true_values
from harness.pocket.world import film, script
from harness.rollout import rollout
from harness.rollout.noise import PairedNoise

LIMIT = 16e6  # bytes of all weights in the package


@pytest.fixture(scope="module")
def backbone():
    return registry.backbone("pocket")


def continued(backbone, strategy, frames=18, clips=24):
    _, made = registry.parse_strategy(strategy)
    with torch.inference_mode():
        return play(backbone, made, [script("a thing")] * clips, range(5000, 5000 + clips), frames, given=3)


def test_it_is_a_backbone_with_everything(backbone):
    assert backbone.name == "pocket"
    assert backbone.sampler.sigmas == registry.backbone("wan-1.3b", device="meta").sampler.sigmas
    assert backbone.trained_frames == 36
    assert backbone.model.config.grid(backbone.latent_size) == (4, 4)
    assert backbone.text(["a thing"]).shape[1:] == (backbone.model.config.text_len, backbone.model.config.text_dim)


def test_all_weights_together_are_small():
    files = list(preset.WEIGHTS.glob("*.safetensors"))
    assert {file.stem for file in files} >= {"model", "codec", "probe"}
    assert sum(file.stat().st_size for file in files) < LIMIT


def test_it_continues_a_true_first_chunk(backbone):
    made, truth = continued(backbone, "full")
    kept = (judge(preset.probe(), made[:, 3:]).whole == true_values(truth, 0)).float().mean(0)
    # The speed of what waits is not seen.
    assert (kept[:7] > 0.9).all()


def test_it_draws_the_attributes_that_the_prompt_names(backbone):
    prompt = "a large red square waits on white with blue dots"
    with torch.inference_mode():
        made, truth = play(backbone, registry.strategy("full"), [script(prompt)] * 12, range(12), 21)
    right = (judge(preset.probe(), made).whole == true_values(truth, 0))[:, 1:7].float().mean(0)
    assert (right > 0.8).all()


def test_same_seed_same_bits_and_rows_do_not_mix(backbone):
    one, _ = continued(backbone, "memrope", clips=3)
    again, _ = continued(backbone, "memrope", clips=3)
    assert torch.equal(one, again)
    alone, _ = continued(backbone, "memrope", clips=1)
    assert (alone[0] - one[0]).abs().max() < 1e-3


def test_the_number_of_threads_changes_nothing_to_speak_of(backbone):
    def made(threads):
        torch.set_num_threads(threads)
        chunks = rollout(
            backbone,
            registry.strategy("memrope"),
            prompts=backbone.text(["a thing"]),
            latent_frames=36,
            latent_size=backbone.latent_size,
            noise=PairedNoise([(1, "a thing")]),
        )
        with torch.inference_mode():
            return torch.cat([chunk.latents for chunk in chunks], 1)

    before = torch.get_num_threads()
    try:
        one, two = made(1), made(2)
    finally:
        torch.set_num_threads(before)
    assert (one - two).abs().max() < 1e-4


def test_other_frames_than_the_first_chunk_do_not_reach_a_continuation(backbone):
    clip = film([script("a thing")], [9], 6)
    made, _ = continued(backbone, "full", clips=1)
    assert torch.allclose(made[0, :3], preset.codec().decode(preset.codec().encode(made[:, :3]))[0], atol=0.06)
    assert clip.pixels.shape[1] == 6


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    for file in preset.WEIGHTS.glob("*.safetensors"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(preset, "WEIGHTS", tmp_path)
    return tmp_path / "model.safetensors"


def complaint():
    with pytest.raises(CheckpointError) as caught:
        preset.pocket()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_weights(shipped):
    shipped.unlink()
    assert "model.safetensors: no such file; reinstall Horizon" in complaint()


@pytest.mark.parametrize("keep", [0, 4, 1000])
def test_damaged_weights(shipped, keep):
    shipped.write_bytes(shipped.read_bytes()[:keep])
    assert "model.safetensors: damaged or cut short" in complaint()


def test_weights_of_another_version(shipped):
    save_file(load_file(shipped), shipped, metadata={"horizon": "pocket", "version": "0"})
    assert f"weights of pocket version 0, this Horizon needs {preset.VERSION}" in complaint()


def test_weights_of_something_else(shipped):
    save_file({"x": torch.zeros(2)}, shipped, metadata={"version": preset.VERSION})
    assert "another architecture" in complaint()
