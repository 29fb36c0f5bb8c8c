import torch

from harness.pocket.codec import CHANNELS, SPREAD, PatchCodec
from harness.pocket.preset import codec
from harness.pocket.world import film, script


def pictures(count=256, first=0):
    return film([script("a thing")] * count, range(first, first + count), 2).pixels


def test_latents_have_the_shape_and_the_spread_that_training_counts_on():
    latents = codec().encode(pictures())
    assert latents.shape == (256, 2, CHANNELS, 8, 8)
    assert abs(float(latents.std()) / SPREAD - 1) < 0.05
    assert abs(float(latents.mean())) < 0.1


def test_what_goes_through_comes_back():
    given = pictures()
    error = (codec().decode(codec().encode(given)) - given).square().mean().sqrt()
    assert error < 0.055


def test_decoding_is_the_inverse_where_nothing_is_clipped():
    latents = 0.3 * codec().encode(pictures(8))
    assert torch.allclose(codec().encode(codec().decode(latents)), latents, atol=1e-3)


def test_chunks_decode_like_the_whole():
    latents = codec().encode(pictures(4))
    decode = codec().decoder()
    parts = torch.cat([decode(part) for part in latents.split(1, 1)], 1)
    assert torch.equal(parts, codec().decode(latents))


def test_a_fit_has_no_arbitrary_signs():
    one, other = PatchCodec().fit(pictures()), PatchCodec().fit(pictures().flip(0))
    assert torch.allclose(one.into, other.into, atol=1e-3)
