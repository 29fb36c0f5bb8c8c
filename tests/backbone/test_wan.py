from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.backbone.presets import Backbone, build, scramble
from harness.backbone.sampler import Sampler
from harness.backbone.wan import CausalWan, WanConfig, sinusoid
from harness.errors import ShapeError
from harness.memory import At, MemorySpec
from harness.rollout import rollout
from harness.rollout.noise import PairedNoise
from harness.rollout.passes import Passes
from strategies.full import Full
from strategies.memrope import MemRoPE
from tests.cases import cases
from tests.oracle import dit as oracle

SIZES: dict[str, Any] = {
    "dim": 40,
    "ffn_dim": 24,
    "num_heads": 2,
    "num_layers": 2,
    "in_dim": 4,
    "out_dim": 4,
    "text_dim": 8,
    "text_len": 6,
    "freq_dim": 16,
}
CONFIG = WanConfig(**SIZES)
LATENT_SIZE = (4, 6)
SEEDS = st.integers(0, 9999)

# The published config.json of Wan-AI/Wan2.1-T2V-1.3B.
PUBLISHED = {
    "_class_name": "WanModel",
    "_diffusers_version": "0.30.0",
    "dim": 1536,
    "eps": 1e-06,
    "ffn_dim": 8960,
    "freq_dim": 256,
    "in_dim": 16,
    "model_type": "t2v",
    "num_heads": 12,
    "num_layers": 30,
    "out_dim": 16,
    "text_len": 512,
}


def random(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def one_pass(model: CausalWan, latents: Tensor, timesteps: Tensor, prompts: Tensor) -> Tensor:
    """The flow of a chunk that has no past."""
    rows, columns = model.config.grid((latents.shape[3], latents.shape[4]))
    spec = MemorySpec(
        layers=len(model.blocks),
        layout=model.layers[0].self_attn.layout,
        frame_tokens=rows * columns,
        chunk=latents.shape[1],
        batch=latents.shape[0],
        dtype=model.dtype,
    )
    passes = Passes(model, Full().open(spec), spec, grid=(rows, columns), frames=0)
    passes.prompt = model.embed_prompt(prompts)
    return passes.denoise(latents, model.embed_time(timesteps), At(0, latents.shape[1], 0, commit=False))


@pytest.fixture(scope="module")
def model() -> CausalWan:
    return scramble(CausalWan(CONFIG)).requires_grad_(False)


def native_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the published 1.3B parameters, written out from its specification."""

    def linear(name: str, out: int, into: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", (out, into)
        yield f"{name}.bias", (out,)

    dim, ffn = 1536, 8960
    yield "patch_embedding.weight", (dim, 16, 1, 2, 2)
    yield "patch_embedding.bias", (dim,)
    yield from linear("text_embedding.0", dim, 4096)
    yield from linear("text_embedding.2", dim, dim)
    yield from linear("time_embedding.0", dim, 256)
    yield from linear("time_embedding.2", dim, dim)
    yield from linear("time_projection.1", 9216, dim)
    for i in range(30):
        block = f"blocks.{i}"
        yield f"{block}.modulation", (1, 6, dim)
        for attention in ("self_attn", "cross_attn"):
            for projection in "qkvo":
                yield from linear(f"{block}.{attention}.{projection}", dim, dim)
            yield f"{block}.{attention}.norm_q.weight", (dim,)
            yield f"{block}.{attention}.norm_k.weight", (dim,)
        yield f"{block}.norm3.weight", (dim,)
        yield f"{block}.norm3.bias", (dim,)
        yield from linear(f"{block}.ffn.0", ffn, dim)
        yield from linear(f"{block}.ffn.2", dim, ffn)
    yield "head.modulation", (1, 2, dim)
    yield from linear("head.head", 64, dim)


def test_published_size() -> None:
    with torch.device("meta"):
        state = CausalWan(WanConfig()).state_dict()
    assert {name: tuple(x.shape) for name, x in state.items()} == dict(native_shapes())
    assert len(state) == 825
    assert sum(x.numel() for x in state.values()) == 1_418_996_800


def test_nothing_but_the_published_parameters_is_stored() -> None:
    """No rotary table, no buffer: what is not in a checkpoint cannot be missing from it."""
    model = CausalWan(CONFIG)
    assert list(model.buffers()) == []
    assert set(dict(model.named_parameters())) == set(model.state_dict())


def test_published_config() -> None:
    assert WanConfig.from_json(PUBLISHED) == WanConfig()
    assert WanConfig().head_dim == 128
    assert WanConfig().grid((60, 104)) == (30, 52)


def test_config_with_lists_and_keys_of_other_models() -> None:
    """JSON has no tuples, and other releases of the same network say more about it."""
    config = WanConfig.from_json(
        PUBLISHED
        | {"patch_size": [1, 2, 2], "text_dim": 4096, "window_size": [-1, -1], "qk_norm": True, "local_attn_size": 21}
    )
    assert config == WanConfig()
    assert config.patch_size == (1, 2, 2)
    assert hash(config) == hash(WanConfig())
    small = WanConfig.from_json(SIZES | {"patch_size": [1, 1, 2]})
    assert (small.dim, small.patch_size) == (40, (1, 1, 2))


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        *(({name: value}, name) for name in SIZES for value in (0, -1, 1.5)),
        ({"dim": "1536"}, "dim"),
        ({"num_layers": None}, "num_layers"),
        ({"dim": 41}, "dim 41 must divide into 2 heads"),
        ({"dim": 42}, "even number of channels"),
        ({"num_heads": 3}, "3 heads"),
        ({"freq_dim": 15}, "freq_dim must be even"),
        ({"patch_size": (2, 2, 2)}, "patch_size"),
        ({"patch_size": (1, 2)}, "patch_size"),
        ({"patch_size": [1, 2, 2, 2]}, "patch_size"),
    ],
    ids=str,
)
def test_impossible_sizes_are_refused(wrong: dict[str, Any], names: str) -> None:
    with pytest.raises(ShapeError, match=names):
        WanConfig(**(SIZES | wrong))
    with pytest.raises(ShapeError, match=names):
        WanConfig.from_json(SIZES | wrong)


@pytest.mark.parametrize("patch_size", [(1, 0, 2), (1, 2, -2), (1, 2, 2.5), 2])
def test_impossible_patches_are_refused(patch_size: Any) -> None:
    with pytest.raises(ShapeError, match="patch_size"):
        WanConfig(**SIZES, patch_size=patch_size)


@pytest.mark.parametrize("latent_size", [(5, 6), (4, 7), (0, 6), (4, -2)])
def test_latents_that_the_patch_does_not_divide(latent_size: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match=f"{latent_size[0]} x {latent_size[1]} is not a multiple of the patch 2 x 2"):
        CONFIG.grid(latent_size)


@pytest.mark.parametrize("place_grid", [(3,), (0, 3), (3, 3, 3), "33", 9])
def test_impossible_grids_of_places_are_refused(place_grid: Any) -> None:
    with pytest.raises(ShapeError, match="place_grid must be"):
        WanConfig(**SIZES, place_grid=place_grid)


def test_places_are_known_for_one_latent_size_only() -> None:
    config = WanConfig(**SIZES, place_grid=[2, 3])  # type: ignore[arg-type]
    assert config.grid((4, 6)) == (2, 3)
    with pytest.raises(ShapeError, match="has place embeddings for 2 x 3 only, so the latent size must be 4 x 6"):
        config.grid((6, 6))


def test_a_place_embedding_shifts_each_token_by_its_own() -> None:
    plain, placed = (CausalWan(config) for config in (CONFIG, WanConfig(**SIZES, place_grid=(2, 3))))
    assert set(placed.state_dict()) - set(plain.state_dict()) == {"place_embedding"}
    shifts = random(5, 6, 40)
    placed.load_state_dict(plain.state_dict() | {"place_embedding": shifts})
    difference = embedded(placed) - embedded(plain)
    assert torch.allclose(difference, shifts.expand_as(difference), atol=1e-6)


def embedded(model: CausalWan) -> Tensor:
    """Tokens as they enter the first block, [2, 3, 6, 40]."""
    seen: list[Tensor] = []
    hook = model.layers[0].register_forward_pre_hook(lambda block, given: seen.append(given[0]))
    one_pass(model, random(0, 2, 3, 4, *LATENT_SIZE), torch.tensor([[625.0]]), random(1, 2, 3, 8))
    hook.remove()
    return seen[0]


def test_patches_are_a_strided_convolution(model: CausalWan) -> None:
    """The published patch embedding is a Conv3d; tokens come by frame, row and column, channel fastest on the way out.

    With every block silent, only the embedding and the head are left.
    """
    still = scramble(CausalWan(CONFIG), seed=5).requires_grad_(False)
    for block in still.layers:
        for silenced in (block.self_attn.o, block.cross_attn.o, block.ffn[2]):
            torch.nn.init.zeros_(silenced.weight)
            torch.nn.init.zeros_(silenced.bias)
    latents, timesteps = random(0, 2, 3, 4, *LATENT_SIZE), torch.tensor([[625.0]])
    flow = one_pass(still, latents, timesteps, random(1, 2, 3, 8))

    tokens = still.patch_embedding(latents.transpose(1, 2))  # [B, dim, F, rows, columns]
    shift, scale = (still.head.modulation + still.embed_time(timesteps).head.unsqueeze(2)).unbind(2)
    normed = torch.nn.functional.layer_norm(tokens.movedim(1, -1), (CONFIG.dim,), eps=CONFIG.eps)
    out = still.head.head(normed * (1 + scale[0]) + shift[0])
    expected = torch.empty_like(latents)
    for down in range(2):
        for across in range(2):
            part = out.unflatten(-1, (2, 2, 4))[..., down, across, :]
            expected[:, :, :, down::2, across::2] = part.movedim(-1, 2)
    torch.testing.assert_close(flow, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("width", [2, 16, 256])
def test_time_features(width: int) -> None:
    """Cosines first, in float64, at any timestep of the 0..1000 scale."""
    timesteps = [0.0, 4.98, 833.3333, 1000.0]
    features = sinusoid(torch.tensor([timesteps]), width)
    assert features.dtype == torch.float64
    for ours, timestep in zip(features[0], torch.tensor(timesteps).tolist(), strict=True):
        torch.testing.assert_close(ours, oracle.sinusoid(timestep, width), rtol=0, atol=1e-12)


@cases(10)
@given(seed=SEEDS, timestep=st.floats(0, 1000), length=st.integers(1, 6))
def test_a_pass_is_the_oracles(seed: int, timestep: float, length: int) -> None:
    """Plain loops over a plain dict of weights."""
    model = scramble(CausalWan(CONFIG), seed).requires_grad_(False)
    latents, prompts = random(seed, 1, 3, 4, *LATENT_SIZE), random(seed + 1, 1, length, 8)
    flow = one_pass(model, latents, torch.tensor([[timestep]]), prompts)
    expected, _ = oracle.forward(
        dict(model.state_dict()),
        SIZES | {"eps": 1e-6, "patch_size": (1, 2, 2)},
        latents[0],
        torch.tensor(timestep).item(),
        prompts[0],
        positions=[0, 1, 2],
        context=[[]] * CONFIG.num_layers,
        context_positions=[],
    )
    torch.testing.assert_close(flow[0], expected, rtol=0, atol=2e-5)


@cases(20)
@given(seed=SEEDS, timesteps=st.lists(st.floats(0, 1000), min_size=3, max_size=3))
def test_rows_at_their_own_timesteps(model: CausalWan, seed: int, timesteps: list[float]) -> None:
    """Rows of a batch, each at its own noise level, are what they are alone."""
    latents, prompts = random(seed, 3, 2, 4, *LATENT_SIZE), random(seed + 1, 3, 4, 8)
    together = one_pass(model, latents, torch.tensor(timesteps)[:, None], prompts)
    for row, timestep in enumerate(timesteps):
        alone = one_pass(model, latents[row, None], torch.tensor([[timestep]]), prompts[row, None])
        torch.testing.assert_close(together[row, None], alone, rtol=0, atol=2e-5)


@cases(20)
@given(seed=SEEDS, timesteps=st.lists(st.floats(0, 1000), min_size=3, max_size=3))
def test_frames_at_their_own_timesteps(seed: int, timesteps: list[float]) -> None:
    """Where self-attention adds nothing, frames do not see each other: each is what it is alone, at its timestep."""
    model = scramble(CausalWan(CONFIG), seed).requires_grad_(False)
    for block in model.layers:
        torch.nn.init.zeros_(block.self_attn.o.weight)
    latents, prompts = random(seed, 2, 3, 4, *LATENT_SIZE), random(seed + 1, 2, 4, 8)
    together = one_pass(model, latents, torch.tensor([timesteps]), prompts)
    for frame, timestep in enumerate(timesteps):
        alone = one_pass(model, latents[:, frame, None], torch.tensor([[timestep]]), prompts)
        torch.testing.assert_close(together[:, frame, None], alone, rtol=0, atol=2e-5)


@cases(20)
@given(seed=SEEDS, timestep=st.floats(0, 1000))
def test_a_shared_timestep_is_one_for_every_frame(model: CausalWan, seed: int, timestep: float) -> None:
    """[1, 1] takes a fused norm; [1, F], [B, 1] and [B, F] do not."""
    latents, prompts = random(seed, 2, 3, 4, *LATENT_SIZE), random(seed + 1, 2, 4, 8)
    shared = one_pass(model, latents, torch.tensor([[timestep]]), prompts)
    for shape in ((1, 3), (2, 1), (2, 3)):
        spread = one_pass(model, latents, torch.full(shape, timestep), prompts)
        torch.testing.assert_close(spread, shared, rtol=0, atol=2e-5)


def test_timesteps_matter(model: CausalWan) -> None:
    latents, prompts = random(0, 1, 2, 4, *LATENT_SIZE), random(1, 1, 4, 8)
    flows = [one_pass(model, latents, torch.tensor([[t]]), prompts) for t in (0.0, 4.98, 625.0, 1000.0)]
    for earlier, later in itertools.pairwise(flows):
        assert (earlier - later).abs().max() > 1e-2


@pytest.mark.parametrize("length", [1, 3, 5])
def test_a_short_prompt_is_padded_with_zeros(model: CausalWan, length: int) -> None:
    latents, timesteps = random(0, 2, 2, 4, *LATENT_SIZE), torch.tensor([[500.0]])
    prompts = random(1, 2, length, 8)
    short = one_pass(model, latents, timesteps, prompts)
    padded = torch.cat((prompts, torch.zeros(2, CONFIG.text_len - length, 8)), 1)
    assert torch.equal(one_pass(model, latents, timesteps, padded), short)
    # The published models attend to the padding, so how much of it there is must make a difference.
    repeated = prompts[:, torch.arange(CONFIG.text_len) % length]
    assert not torch.allclose(one_pass(model, latents, timesteps, repeated), short, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 7, 8), (1, 3, 9), (3, 8), (1, 1, 3, 8)])
def test_prompts_of_another_encoder_are_refused(model: CausalWan, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="at most 6 tokens, 8 channels"):
        model.embed_prompt(torch.zeros(shape))


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_a_chunk_is_bidirectional_inside(model: CausalWan, chunk: int) -> None:
    """Every frame of a chunk, the last one too, reaches every other one."""
    latents, timesteps, prompts = random(0, 1, chunk, 4, *LATENT_SIZE), torch.tensor([[700.0]]), random(1, 1, 4, 8)
    before = one_pass(model, latents, timesteps, prompts)
    for frame in range(chunk):
        nudged = latents.clone()
        nudged[:, frame] += 1
        changed = (one_pass(model, nudged, timesteps, prompts) - before).abs().amax((0, 2, 3, 4))
        assert (changed > 1e-3).all()


def video(model: CausalWan, grad: bool, strategy: Any = None) -> Tensor:
    """Two chunks of two steps, the second of which sees the first through the memory."""
    chunks = rollout(
        Backbone(model=model, sampler=Sampler(steps=(1000, 500)), chunk=2),
        strategy or Full(),
        prompts=random(2, 1, 4, 8, dtype=model.dtype),
        latent_frames=6,
        latent_size=LATENT_SIZE,
        noise=PairedNoise([(0, "gradients")]),
        grad=grad,
    )
    return torch.cat([chunk.latents for chunk in chunks], 1)


@pytest.mark.parametrize(
    "strategy", [Full(), MemRoPE(window=5, sink=1), MemRoPE(window=5, sink=1, init="paper")], ids=repr
)
def test_gradients_reach_every_parameter(strategy: Any) -> None:
    model = scramble(CausalWan(CONFIG))
    latents = video(model, True, strategy)
    latents[:, -2:].square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("strategy", [Full(), MemRoPE(window=5, sink=1)], ids=repr)
def test_training_computes_what_inference_does(strategy: Any) -> None:
    model = scramble(CausalWan(CONFIG))
    trained, inferred = video(model, True, strategy), video(model, False, strategy)
    assert trained.requires_grad
    assert not inferred.requires_grad
    torch.testing.assert_close(trained.detach(), inferred, rtol=0, atol=1e-5)


def test_gradients_are_the_slope() -> None:
    """Against finite differences in float64, along a random direction, through passes, memory and sampler."""
    model = scramble(CausalWan(CONFIG)).double()
    start = {name: x.detach().clone() for name, x in model.named_parameters()}
    direction = {name: random(number, *x.shape, dtype=torch.float64) for number, (name, x) in enumerate(start.items())}

    def loss(step: float, grad: bool = False) -> Tensor:
        with torch.no_grad():
            for name, x in model.named_parameters():
                x.copy_(start[name] + step * direction[name])
        return video(model, grad)[:, -2:].sin().mean()

    loss(0.0, grad=True).backward()
    slope = sum(float((x.grad * direction[name]).sum()) for name, x in model.named_parameters() if x.grad is not None)
    width = 1e-6
    measured = float(loss(width) - loss(-width)) / (2 * width)
    assert slope == pytest.approx(measured, rel=1e-5)
    assert abs(slope) > 1e-3


def test_bfloat16_is_close_to_float32() -> None:
    """Within a few of its roundings (2**-9 each), and not closer than one pass in bfloat16 can come."""
    latents, timesteps, prompts = random(3, 2, 3, 4, *LATENT_SIZE), torch.tensor([[625.0]]), random(4, 2, 4, 8)
    wide = scramble(CausalWan(CONFIG)).requires_grad_(False)
    half = scramble(CausalWan(CONFIG)).requires_grad_(False).to(torch.bfloat16)
    exact = one_pass(wide, latents, timesteps, prompts)
    rounded = one_pass(half, latents.to(torch.bfloat16), timesteps, prompts)
    assert rounded.dtype == torch.bfloat16
    error = (rounded.float() - exact).norm() / exact.norm()
    assert 1e-4 < error < 3e-2


def test_a_bfloat16_rollout_is_finite_and_close_to_float32() -> None:
    wide = scramble(CausalWan(CONFIG)).requires_grad_(False)
    half = scramble(CausalWan(CONFIG)).requires_grad_(False).to(torch.bfloat16)
    exact, rounded = video(wide, False), video(half, False)
    assert rounded.dtype == torch.bfloat16
    assert rounded.isfinite().all()
    assert (rounded.float() - exact).norm() / exact.norm() < 0.1


def test_float32_is_float64_within_rounding() -> None:
    latents, timesteps, prompts = random(3, 1, 3, 4, *LATENT_SIZE), torch.tensor([[625.0]]), random(4, 1, 4, 8)
    flow = one_pass(scramble(build(CONFIG)), latents, timesteps, prompts)
    exact = one_pass(scramble(build(CONFIG, dtype="float64")), latents.double(), timesteps, prompts)
    assert flow.dtype == torch.float32
    torch.testing.assert_close(flow.double(), exact, rtol=0, atol=1e-5)
