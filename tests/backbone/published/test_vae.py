"""The VAE: streaming equals decoding at once, at any cut, and takes the memory of one chunk."""

import pytest
import torch
from diffusers import AutoencoderKLWan

from harness.backbone.published.vae import WanCodec
from harness.errors import CheckpointError, PresetError, ShapeError
from tests import published

FRAMES = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("vae")
    published.vae(found)
    return found


@pytest.fixture
def codec(folder):
    return WanCodec.load(folder, device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def latents():
    return torch.randn(2, FRAMES, 16, 8, 12, generator=torch.Generator().manual_seed(0))


def at_once(vae, latents):
    """What diffusers makes of a whole video."""
    mean, std = (torch.tensor(x).view(1, -1, 1, 1, 1) for x in (vae.config.latents_mean, vae.config.latents_std))
    with torch.no_grad():
        made = vae.decode(latents.transpose(1, 2) * std + mean).sample
    return (made * 0.5 + 0.5).clamp(0, 1).transpose(1, 2)


@pytest.mark.parametrize("cuts", [[7], [3, 3, 1], [1] * 7, [1, 6]], ids=str)
def test_streaming_equals_decoding_at_once(codec, latents, cuts):
    decoder = codec.decoder()
    parts = [decoder(part) for part in latents.split(cuts, 1)]
    assert [part.shape[1] for part in parts] == [4 * cut - 3 * (number == 0) for number, cut in enumerate(cuts)]
    whole = torch.cat(parts, 1)
    assert whole.shape == (2, 4 * FRAMES - 3, 3, 64, 96)
    torch.testing.assert_close(whole, at_once(codec.vae, latents), atol=1e-4, rtol=0)


def test_a_fresh_cache_in_the_middle_would_be_seen(codec, latents):
    decoder = codec.decoder()
    decoder(latents[:, :3])
    carried, fresh = decoder(latents[:, 3:]), codec.decoder()(latents[:, 3:])
    assert carried.shape[1] == fresh.shape[1] + 3
    assert (carried[:, 3:] - fresh).abs().max() > 1e-3


def test_tiles_are_blended_as_diffusers_does_it(folder, latents):
    codec = WanCodec.load(folder, device="cpu", dtype=torch.float32, tiling=True)
    codec.vae.enable_tiling(48, 48, 32, 32)
    codec.vae.use_tiling = False
    decoder = codec.decoder()
    streamed = torch.cat([decoder(part) for part in latents.split(3, 1)], 1)
    untiled = at_once(codec.vae, latents)
    codec.vae.use_tiling = True
    torch.testing.assert_close(streamed, at_once(codec.vae, latents), atol=1e-4, rtol=0)
    assert (streamed - untiled).abs().max() > 1e-3


def test_small_pictures_are_one_tile(folder, latents):
    codec = WanCodec.load(folder, device="cpu", dtype=torch.float32, tiling=True)
    torch.testing.assert_close(codec.decode(latents), at_once(codec.vae, latents), atol=1e-4, rtol=0)


def test_off_the_device_and_stopped_in_the_middle_gives_the_same(folder, codec, latents):
    away = WanCodec.load(folder, device="cpu", dtype=torch.float32, offload=True)
    first = away.decoder()
    before = first(latents[:, :3])
    second = away.decoder()
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(torch.cat((before, second(latents[:, 3:])), 1), codec.decode(latents), atol=0, rtol=0)


def test_what_is_carried_does_not_grow(codec, latents):
    decoder = codec.decoder()
    sizes = []
    for part in latents.split(1, 1):
        decoder(part)
        sizes.append(sum(x.nbytes for x in decoder.state_dict()["0,0"] if isinstance(x, torch.Tensor)))
    assert sizes[2] == sizes[-1] > 0


def test_the_footprint_is_what_decoding_takes(codec):
    from harness.measure.counting import weighed

    decoder = codec.decoder()
    latents = torch.randn(1, 3, 16, 8, 12)
    with weighed() as count:
        decoder(latents)
    assert codec.footprint(1, (8, 12)) == pytest.approx(count.peak_bytes, rel=0.02)
    assert codec.footprint(2, (8, 12)) == pytest.approx(2 * count.peak_bytes, rel=0.05)


def test_pictures_are_encoded_to_latents_of_unit_scale(codec):
    pixels = torch.rand(1, 9, 3, 64, 96)
    latents = codec.encode(pixels)
    assert latents.shape == (1, 3, 16, 8, 12)
    with torch.no_grad():
        theirs = codec.vae.encode((2 * pixels - 1).transpose(1, 2)).latent_dist.mode()
    config = codec.vae.config
    back = latents * torch.tensor(config.latents_std).view(-1, 1, 1) + torch.tensor(config.latents_mean).view(-1, 1, 1)
    torch.testing.assert_close(back.transpose(1, 2), theirs, atol=1e-4, rtol=0)
    with pytest.raises(ShapeError, match="8 pictures cannot be encoded; the VAE takes 4 n - 3"):
        codec.encode(pixels[:, :8])


def spoil(folder, name, content):
    (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda f: spoil(
            f, "diffusion_pytorch_model.safetensors", (f / "diffusion_pytorch_model.safetensors").read_bytes()[:999]
        ),
        lambda f: spoil(f, "config.json", b"{"),
        lambda f: (f / "diffusion_pytorch_model.safetensors").unlink(),
        lambda f: (
            published.vae(f / "other", base_dim=16)
            or (f / "other/diffusion_pytorch_model.safetensors").replace(f / "diffusion_pytorch_model.safetensors")
        ),
        lambda f: (
            published.vae(f / "other", num_res_blocks=2)
            or (f / "other/diffusion_pytorch_model.safetensors").replace(f / "diffusion_pytorch_model.safetensors")
        ),
    ],
    ids=["cut short", "no JSON", "no weights", "another width", "another depth"],
)
def test_a_folder_that_is_not_it_is_refused_in_one_line(tmp_path, spoilt):
    published.vae(tmp_path)
    spoilt(tmp_path)
    with pytest.raises(CheckpointError, match=f"{tmp_path}: not a VAE of Wan2.1") as told:
        WanCodec.load(tmp_path, device="cpu", dtype=torch.float32)
    assert "\n" not in str(told.value)


def test_a_vae_of_wan_2_2_is_refused():
    vae = AutoencoderKLWan(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1, is_residual=True)
    with pytest.raises(PresetError, match=r"this VAE is of Wan2\.2"):
        WanCodec(vae)
