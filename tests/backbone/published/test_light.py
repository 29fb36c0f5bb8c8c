"""The light codec: it computes what its definition says, in any pieces, and is read from the published file's names."""

import shutil

import pytest
import torch
from torch.nn import functional

from harness import registry
from harness.backbone.published.light import LightCodec, Networks
from harness.backbone.published.pins import LIGHT_DECODER
from harness.cli.make import sample
from harness.errors import CheckpointError, PresetError, ShapeError
from harness.films.writer import read_about
from harness.measure.counting import weighed
from harness.provenance.environment import environment, weights_hash
from tests import published

FRAMES = 5


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp("light") / "taew2_1.pth"
    published.light(found)
    return found


@pytest.fixture(scope="module")
def codec(path):
    return LightCodec.load(path, device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def latents():
    return torch.randn(2, FRAMES, 16, 4, 6, generator=torch.Generator().manual_seed(0))


def convolved(state, name, x):
    weight = state[f"{name}.weight"].float()
    bias = state.get(f"{name}.bias")
    return functional.conv2d(x, weight, None if bias is None else bias.float(), padding=weight.shape[-1] // 2)


def one_by_one(path, latents):
    """The decoder frame by frame and layer by layer, from the file's tensors; all 4 n pictures."""
    state = torch.load(path, weights_only=True)
    memory = {}

    def block(x, name):
        past = memory.get(name, torch.zeros_like(x))
        memory[name] = x
        y = torch.cat((x, past), 1)
        for layer in (0, 2):
            y = convolved(state, f"{name}.conv.{layer}", y).relu()
        return (convolved(state, f"{name}.conv.4", y) + x).relu()

    def groups(x, group):
        if group == 3:
            return [convolved(state, "decoder.22", x.relu())]
        first = 3 + 6 * group
        for number in range(first, first + 3):
            x = block(x, f"decoder.{number}")
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        grown = convolved(state, f"decoder.{first + 4}.conv", x).split(x.shape[1], 1)
        return [made for each in grown for made in groups(convolved(state, f"decoder.{first + 5}", each), group + 1)]

    pictures = []
    for latent in latents.unbind(1):
        x = convolved(state, "decoder.1", 3 * torch.tanh(latent / 3)).relu()
        pictures += groups(x, 0)
    return torch.stack(pictures, 1)


def test_pictures_are_those_of_the_definition(codec, path, latents):
    with torch.no_grad():
        expected = one_by_one(path, latents)[:, 3:]
    made = codec.decode(latents)
    assert made.shape == (2, 4 * FRAMES - 3, 3, 32, 48)
    torch.testing.assert_close(made, expected.clamp(0, 1), atol=1e-6, rtol=0)
    assert float(made.std()) > 1e-3


@pytest.mark.parametrize("cuts", [[3, 2], [1] * FRAMES, [1, 4]], ids=str)
def test_streaming_equals_decoding_at_once_also_after_a_stop(codec, latents, cuts):
    decoder, parts = codec.decoder(), []
    for part in latents.split(cuts, 1):
        parts.append(decoder(part))
        following = codec.decoder()
        following.load_state_dict(decoder.state_dict())
        decoder = following
    assert [part.shape[1] for part in parts] == [4 * cut - 3 * (number == 0) for number, cut in enumerate(cuts)]
    torch.testing.assert_close(torch.cat(parts, 1), codec.decode(latents), atol=1e-6, rtol=0)


def test_the_encoder_reads_four_pictures_a_latent_frame_and_the_last_one_again(codec):
    pixels = torch.rand(1, 9, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    latents = codec.encode(pixels)
    assert latents.shape == (1, 3, 16, 4, 6)
    changed = pixels.clone()
    changed[:, 8:] = 0
    again = codec.encode(changed)
    assert torch.equal(again[:, :2], latents[:, :2])
    assert not torch.equal(again[:, 2], latents[:, 2])
    longer = torch.cat((pixels, pixels[:, -1:].expand(-1, 4, -1, -1, -1)), 1)
    assert torch.equal(codec.encode(longer)[:, :3], latents)
    with pytest.raises(ShapeError, match="8 pictures cannot be encoded"):
        codec.encode(pixels[:, :8])


def test_the_published_sizes_are_those_of_the_pinned_file():
    with torch.device("meta"):
        numbers = sum(x.numel() for x in Networks().state_dict().values())
    # Half precision, and what a file needs beside its numbers.
    assert 0 < LIGHT_DECODER.bytes - 2 * numbers < 60_000


def test_the_footprint_is_what_decoding_takes(codec):
    decoder = codec.decoder()
    with weighed() as count:
        decoder(torch.randn(1, 2, 16, 8, 12))
    assert codec.footprint(1, (8, 12)) == pytest.approx(count.peak_bytes, rel=0.02)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("decoder.3.conv.0.bias"), r"missing decoder\.3\.conv\.0\.bias"),
        (lambda state: state.update(more=torch.zeros(1)), "unexpected more"),
        (lambda state: state.update({"decoder.8.weight": torch.zeros(3)}), "another size"),
        (lambda state: state.update({"decoder.1.weight": torch.zeros(())}), "another size"),
        (lambda state: [state.pop(name) for name in list(state) if name.startswith("decoder")], "missing decoder"),
    ],
)
def test_another_network_is_refused_in_one_line(path, tmp_path, change, told):
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=told) as raised:
        LightCodec.load(tmp_path / "other.pth", device="cpu", dtype=torch.float32)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("own_cache")
def test_a_backbone_with_it_needs_no_vae_and_says_so_in_its_records(weights, tmp_path):
    own = shutil.copytree(weights, tmp_path / "own")
    usual = registry.backbone("self-forcing", weights=own, size=published.SIZE, dtype="float32")
    shutil.rmtree(own / "vae")
    published.sums(own)
    light = registry.backbone("self-forcing", weights=own, size=published.SIZE, dtype="float32", decoder="light")
    assert isinstance(light.codec, LightCodec)
    assert "taew2_1.pth" in light.files
    assert not any(name.startswith("vae") for name in light.files)
    assert (environment(light)["decoder"], environment(usual).get("decoder")) == ("light", None)
    assert weights_hash(light) != weights_hash(usual)
    (own / "taew2_1.pth").unlink()
    with pytest.raises(
        CheckpointError, match=r"lists taew2_1\.pth, which is not there|hf download lightx2v/Autoencoders"
    ):
        registry.backbone("self-forcing", weights=own, size=published.SIZE, dtype="float32", decoder="light")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"decoder": "tiny"}, "unknown decoder 'tiny'; allowed: wan, light"),
        ({"decoder": "light", "tiling": True}, "tiling and offload are of Wan's decoder"),
        ({"decoder": "light", "offload": True}, "leave them out"),
    ],
)
def test_decoders_that_cannot_be_are_refused(options, told):
    with pytest.raises(PresetError, match=told):
        registry.backbone("self-forcing", device="meta", **options)


@pytest.mark.usefixtures("own_cache")
def test_a_film_names_it(weights, tmp_path):
    out = tmp_path / "film.mp4"
    sample(
        "a fox", strategy="sliding_window", seconds=1.5, backbone="self-forcing", dtype="float32", weights=weights,
        size="32x48", decoder="light", out=out,
    )  # fmt: skip
    assert read_about(out)["decoder"] == "light"
