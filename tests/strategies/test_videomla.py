"""VideoMLA against the paper's equations, against plain loops, and what is its own."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harness import registry
from harness.backbone.block import SelfAttention
from harness.backbone.layout import LaidOut, gather, room
from harness.backbone.presets import Backbone, build, scramble, wan_1_3b
from harness.backbone.rope import Rope
from harness.backbone.wan import CausalWan, WanConfig
from harness.errors import CheckpointError, KnobError, RegistryError
from harness.memory import At, Entries, MemorySpec, Strategy
from harness.memory.knobs import knobs_set
from harness.pocket.preset import pocket
from harness.rollout import rollout
from harness.training.weights import read, write
from harness.verify.bench import CONFIG, Workbench
from strategies.attention_sink import AttentionSink
from strategies.full import Full
from strategies.memrope import MemRoPE
from strategies.videomla import VideoMLA
from strategies.videomla.attention import Evaluation, LatentAttention, Sizes, turned_pairs
from strategies.videomla.initial import by_weights, decompose, principal, share, split_channels
from tests import goldens
from tests.cases import cases
from tests.oracle import videomla as oracle

NAMES = ("down_kv", "down_q", "up_k", "up_v", "up_q", "rope_k", "rope_q", "o")


def watched(
    layer: LatentAttention, strategy: Strategy, chunks: Tensor, grid: tuple[int, int], frames: int
) -> tuple[list[Tensor], Any]:
    """Outputs of a layer for inputs [chunks, frames * tokens, D], remembered by the strategy; and its memory."""
    rope, tokens = Rope(layer.radians, grid, torch.float64), math.prod(grid)
    spec = MemorySpec(1, layer.layout, tokens, frames, dtype=torch.float64)
    memory, outputs = strategy.open(spec), []
    for number, x in enumerate(chunks):
        at = At(frames * number, frames, 0, commit=True)
        context = memory.recall(0, None, at)
        slots = [slot.tensors for slot in context.slots]
        laid_out = (
            layer.layout.ready(gather(slots), rope.frames(context.positions), context.weights)
            if slots
            else room(layer.layout, 1, 0, torch.float64, torch.device("cpu"))
        )
        own = layer.key_value(x[None])
        here = LaidOut(laid_out, rope.frames(range(context.start, context.start + frames)), room=False)
        outputs.append(layer(layer.query(x[None]), own, here)[0])
        memory.remember(0, Entries(*(each.unflatten(1, (frames, tokens)) for each in own)), None, at)
    return outputs, memory


def filled(layer: LatentAttention, seed: int = 0) -> LatentAttention:
    """With weights that all matter."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in layer.double().requires_grad_(False).named_parameters():
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        weight.copy_(1 + 0.2 * noise if name.startswith("norm") else noise / max(weight.shape[-1], 1) ** 0.5)
    return layer


@pytest.mark.parametrize("evaluation", ["explicit", "absorbed"])
@pytest.mark.parametrize(("variant", "window"), [("A", 7), ("B", 10)])
@torch.no_grad()
def test_the_papers_equations(variant: str, window: int, evaluation: Evaluation) -> None:
    golden = goldens.load("mla_paper_equations", goldens.SCENES)
    config = WanConfig(dim=48, ffn_dim=32, num_heads=2, num_layers=1)
    layer = LatentAttention(config, Sizes.of(config, None, None, 8), evaluation).double()
    assert (layer.sizes.latent, layer.sizes.query, layer.nope) == (6, 24, 16)
    stored = {
        "down_kv": "W_down_kv", "down_q": "W_down_q", "up_k": "W_up_k", "up_v": "W_up_v", "up_q": "W_up_q",
        "rope_k": "W_rope_k", "rope_q": "W_rope_q", "o": "W_o", "norm_kv": "norm_kv", "norm_q": "norm_q",
    }  # fmt: skip
    weights = {f"{ours}.weight": golden[theirs].double() for ours, theirs in stored.items()}
    layer.load_state_dict({**weights, "o.bias": torch.zeros(48)})
    outputs, memory = watched(layer, VideoMLA(window=window), golden["x"].double(), (2, 2), 3)
    assert (torch.stack(outputs) - golden[f"out.variant{variant}"]).abs().max() < 1e-9
    if variant == "A":
        # The published cache holds the whole window; ours, between chunks, what the next chunk may see.
        held = memory.held(0)
        kept = [golden["final_cache.variantA.c"], golden["final_cache.variantA.kR"]]
        assert list(held) == [0, 15, 16, 17]
        for slot, entries in zip((0, 4, 5, 6), held.values(), strict=True):
            for ours, theirs in zip(entries.tensors, kept, strict=True):
                assert (ours[0, 0] - theirs[slot]).abs().max() < 1e-9


def test_the_papers_svd() -> None:
    golden = goldens.load("mla_paper_equations", goldens.SCENES)
    keys, values = golden["svd.W_k"].double()[golden["svd.content_rows"]], golden["svd.W_v"].double()
    up, down = principal(torch.cat((keys, values)), torch.eye(48, dtype=torch.float64), 6)
    assert (up @ down - golden["svd.M_rank_dc"]).abs().max() < 1e-9


@cases(25)
@given(
    seed=st.integers(0, 2**31),
    heads=st.integers(1, 3),
    head=st.sampled_from([6, 8, 12, 14]),
    rope=st.integers(0, 3),
    latents=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    normed=st.booleans(),
    chunk=st.integers(1, 3),
    chunks=st.integers(1, 4),
    sink=st.integers(0, 2),
    extra=st.integers(0, 4),
    grid=st.sampled_from([(1, 1), (1, 2), (2, 1)]),
    evaluation=st.sampled_from(["explicit", "absorbed", "auto"]),
)
@torch.no_grad()
def test_plain_loops(
    seed: int,
    heads: int,
    head: int,
    rope: int,
    latents: tuple[int, int],
    normed: bool,
    chunk: int,
    chunks: int,
    sink: int,
    extra: int,
    grid: tuple[int, int],
    evaluation: Evaluation,
) -> None:
    rope = min(2 * rope, (head - 1) // 2 * 2)
    config = WanConfig(dim=heads * head, ffn_dim=4, num_heads=heads, num_layers=1)
    layer = filled(LatentAttention(config, Sizes.of(config, *latents, rope, normed), evaluation), seed)
    layer.o.bias.zero_()
    tokens, window = math.prod(grid), sink + chunk + extra
    x = torch.randn(
        chunks, chunk * tokens, heads * head, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    strategy = VideoMLA(policy=f"attention_sink.window={window},sink={sink}")
    outputs, _ = watched(layer, strategy, x, grid, chunk)
    weights = {name: getattr(layer, name).weight.tolist() for name in NAMES}
    ones = [[1.0] * 6]
    weights |= {name: [getattr(layer, name).weight.tolist()] if normed else ones for name in ("norm_kv", "norm_q")}
    shape = oracle.Shape(heads, head - rope, turned_pairs(head, rope), head, normed)
    frames = x.reshape(chunks * chunk, tokens, -1).tolist()
    for number, output in enumerate(outputs):
        start = number * chunk
        seen = oracle.visible(chunks * chunk, window, sink, chunk, start)
        expected = oracle.attend(weights, shape, frames, grid, seen, range(start, start + chunk))
        assert (output - torch.tensor(expected, dtype=torch.float64)).abs().max() < 1e-10


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@torch.no_grad()
def test_explicit_and_absorbed_evaluation_are_equal(dtype: torch.dtype, tolerance: float) -> None:
    config = WanConfig(dim=128, ffn_dim=4, num_heads=4, num_layers=1)
    explicit = filled(LatentAttention(config, Sizes.of(config, None, None, None), "explicit"))
    absorbed = LatentAttention(config, explicit.sizes, "absorbed").double().requires_grad_(False)
    absorbed.load_state_dict(explicit.state_dict())
    x = torch.randn(2, 27, 128, dtype=dtype, generator=torch.Generator().manual_seed(0))
    results = []
    for layer in (explicit.to(dtype), absorbed.to(dtype)):
        rope = Rope(layer.radians, (3, 3), dtype)
        past = layer.layout.ready(layer.key_value(x.flip(1)), rope.frames(range(3)), None)
        results.append(layer(layer.query(x), layer.key_value(x), LaidOut(past, rope.frames(range(3, 6)), room=False)))
    assert (results[0] - results[1]).abs().max() < tolerance


def test_auto_evaluation_takes_what_needs_fewer_products() -> None:
    def absorbs(config: WanConfig, queries: int, keys: int) -> bool:
        with torch.device("meta"):
            return LatentAttention(config, Sizes.of(config, None, None, None)).absorbs(queries, keys)

    wan = WanConfig()
    # A whole chunk at 480 x 832 asks often enough to make keys and values worth their while; a token alone does not.
    assert not absorbs(wan, 4680, 10920)
    assert absorbs(wan, 1, 10920)
    # Four heads of 32: the latent is narrower than a head.
    at = pocket("meta")
    chunk = at.chunk * at.memory_spec().frame_tokens
    assert absorbs(at.model.config, chunk, 7 * chunk // 3)


@pytest.mark.parametrize("evaluation", ["explicit", "absorbed"])
def test_full_rank_without_norms_and_positions_is_the_dense_layer(evaluation: Evaluation) -> None:
    model = scramble(CausalWan(CONFIG)).requires_grad_(False)
    for block in model.layers:
        # The paper has no bias for queries, and that of a dense layer is no linear function of its input.
        block.self_attn.q.bias.zero_()
        block.self_attn.norm_q, block.self_attn.norm_k = nn.Identity(), nn.Identity()
        block.self_attn.radians = tuple(torch.zeros_like(axis) for axis in block.self_attn.radians)
    strategy = VideoMLA(
        policy="sliding_window.window=6", latent=24, query_latent=24, rope=0, latent_norm=False, parameters="svd",
        evaluation=evaluation,
    )  # fmt: skip
    bench = Workbench(strategy, Backbone(model=model, latent_size=(4, 4)))
    dense = Workbench(registry.strategy("sliding_window", window=6), bench.backbone)
    for ours, theirs in zip(bench.latents(6), dense.latents(6), strict=True):
        assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.nightly
def test_cached_bytes_at_wan_size_are_measured_from_what_is_allocated() -> None:
    sizes = []
    for strategy in (registry.strategy("attention_sink", window=7, sink=1), VideoMLA()):
        backbone = wan_1_3b("meta")
        chunks = rollout(
            backbone, keeping := _keeping(strategy), prompts=torch.zeros(1, 4, 4096), latent_frames=9,
            latent_size=(60, 104), noise=_Nothing(),
        )  # fmt: skip
        for chunk in chunks:
            chunk.state()
        held = [entries for layer in range(30) for entries in keeping.opened[0].held(layer).values()]  # type: ignore[attr-defined]
        assert len(held) == 30 * 4
        allocated = sum(x.untyped_storage().nbytes() for entries in held for x in entries.tensors)
        assert allocated == strategy.footprint(strategy.adapt(backbone).memory_spec(), 9)
        sizes.append(allocated / (len(held) * 1560))
    assert sizes == [6144, 448]
    assert round(100 * (1 - sizes[1] / sizes[0]), 1) == 92.7


class _Nothing:
    """Noise on meta."""

    def initial(self, chunk: int, shape: torch.Size) -> Tensor:
        return torch.empty(shape, device="meta")

    def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
        return torch.empty(shape, device="meta")


def _keeping(strategy: Strategy) -> Strategy:
    """The same strategy; the memories that it opens are listed in `opened`."""
    from harness.memory.proxy import watched as seen

    opened: list[Any] = []
    twin = seen(strategy, lambda memory: opened.append(memory) or memory)  # type: ignore[func-returns-value]
    object.__setattr__(twin, "opened", opened)
    return twin


def test_the_backbone_is_not_changed_and_shares_all_but_its_attention() -> None:
    backbone = Backbone(model=scramble(CausalWan(CONFIG)).requires_grad_(False), latent_size=(4, 4), trained_frames=9)
    before = {name: x.clone() for name, x in backbone.model.state_dict().items()}
    adapted = VideoMLA().adapt(backbone)
    assert all(torch.equal(before[name], x) for name, x in backbone.model.state_dict().items())
    assert all(isinstance(block.self_attn, SelfAttention) for block in backbone.model.layers)
    assert all(isinstance(block.self_attn, LatentAttention) for block in adapted.model.layers)
    own = dict(backbone.model.named_parameters())
    for name, x in adapted.model.named_parameters():
        assert (x is own.get(name)) == (".self_attn." not in name)
    assert VideoMLA().adapt(backbone).model is adapted.model
    backbone.model.layers[0].self_attn.k.weight.mul_(2)
    assert VideoMLA().adapt(backbone).model is not adapted.model


def test_channels_that_positions_turn_are_the_fastest_of_each_axis() -> None:
    assert (turned_pairs(128, 32), turned_pairs(24, 8), turned_pairs(6, 4)) == ((6, 5, 5), (2, 1, 1), (1, 1, 0))
    turned, rest = split_channels(128, 32)
    assert turned == [*range(12), *range(44, 54), *range(86, 96)]
    assert sorted(turned + rest) == list(range(128))


def test_one_shared_key_for_heads_whose_keys_are_turned_multiples_is_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(3, 8, dtype=torch.complex128, generator=generator)
    multiples = torch.randn(4, 3, 1, dtype=torch.complex128, generator=generator)
    keys = torch.view_as_real(multiples * base).movedim(-1, -2).flatten(1, 2)
    queries = torch.randn(4, 6, 8, dtype=torch.float64, generator=generator)
    root = torch.randn(8, 8, dtype=torch.float64, generator=generator)
    shared, asked = share(keys, queries, root)
    x, y = torch.randn(2, 8, dtype=torch.float64, generator=generator)
    ours, theirs = (asked @ x * (shared @ y)).sum(-1), ((queries @ x) * (keys @ y)).sum(-1)
    assert (ours - theirs).abs().max() < 1e-10


def test_what_occurs_in_videos_is_kept_better_by_an_svd_that_knows_it() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(60, 40, dtype=torch.float64, generator=generator)
    root = torch.randn(40, 40, dtype=torch.float64, generator=generator) * torch.logspace(0, -2, 40)
    x = root @ torch.randn(40, 2000, dtype=torch.float64, generator=generator)
    errors = []
    for known in (root, torch.eye(40, dtype=torch.float64)):
        up, down = principal(matrix, known, 5)
        errors.append(float((up @ (down @ x) - matrix @ x).square().mean()))
    assert errors[0] < 0.5 * errors[1]
    up, down = principal(matrix, root, 5)
    latent = down @ x
    assert abs(float((down @ root @ root.T @ down.T).diagonal().mean()) - 1) < 1e-8
    assert (torch.corrcoef(latent) - torch.eye(5)).abs().max() < 0.1


def test_a_norm_is_folded_into_the_rows() -> None:
    dense = scramble(CausalWan(CONFIG)).layers[0].self_attn.requires_grad_(False)
    layer = LatentAttention(CONFIG, Sizes.of(CONFIG, 24, 24, 0, normed=False)).requires_grad_(False)
    decompose(dense, by_weights(dense), layer)
    x = torch.randn(1, 4000, 24, generator=torch.Generator().manual_seed(0))
    keys = dense.key_value(x)[0].flatten(2)
    ours = layer.up_k(layer.key_value(x)[0])
    assert torch.nn.functional.cosine_similarity(keys, ours, dim=-1).mean() > 0.98
    assert 0.9 < float(ours.norm() / keys.norm()) < 1.1


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"policy": "echo_forcing"}, "echo_forcing compares whole keys"),
        ({"policy": "videomla"}, "policy videomla has layers of its own"),
        ({"policy": "full", "window": 9}, "policy full has no knob window"),
        ({"policy": "memrope.sink=9"}, "window 12 is smaller than"),
        ({"rope": 3}, "rope 3 of 12 channels a head"),
        ({"rope": 12}, "allowed here: even numbers from 0 to 10"),
        ({"latent": 25}, "latent 25 is wider than the model; allowed here: 1 to 24"),
        ({"parameters": "magic"}, "allowed: trained | activation_svd | svd | random | a .safetensors file"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(knobs: dict[str, Any], says: str) -> None:
    with pytest.raises(KnobError, match=re.escape(says)) as caught:
        Workbench(VideoMLA(**knobs)).latents(1)
    assert "\n" not in str(caught.value)


RECORDED = {
    "videomla": ("attention_sink.window=7,sink=1", {}),
    "videomla.window=9": ("attention_sink.window=7,sink=1", {"window": 9}),
    "videomla.policy=memrope": ("memrope", {"policy": {"MemRoPE": {}}}),
    "videomla.policy=[memrope.window=15,sink=1]": (
        "[memrope.window=15,sink=1]",
        {"policy": {"MemRoPE": {"window": 15, "sink": 1}}},
    ),
    "videomla.policy=[attention_sink.sink=1,window=7]": (
        "[attention_sink.sink=1,window=7]",
        {"policy": {"AttentionSink": {"window": 7, "sink": 1}}},
    ),
    "videomla.policy=memrope,window=9": ("memrope", {"policy": {"MemRoPE": {"window": 9}}, "window": 9}),
}
"""By what is typed: the text of the policy in records, and what names the cells."""


@pytest.mark.parametrize("typed_text", RECORDED)
def test_a_policy_is_a_strategy_and_recorded_as_it_was_typed(typed_text: str) -> None:
    text, named = RECORDED[typed_text]
    made = registry.parse_strategy(typed_text)[1]
    assert isinstance(made, VideoMLA)
    assert isinstance(made.policy, Strategy)
    assert made.knobs()["policy"] == text
    assert repr(made).startswith(f"VideoMLA(policy={text!r}, window={made.window}, latent=None, ")
    assert knobs_set(made) == named
    # Also after a change, a copy, and the way through a file.
    assert replace(made, latent=8).knobs()["policy"] == text
    assert pickle.loads(pickle.dumps(made)).knobs() == made.knobs()
    assert repr(registry.strategy("videomla", **json.loads(json.dumps(made.knobs())))) == repr(made)


def test_a_policy_may_be_given_as_a_strategy() -> None:
    made = VideoMLA(policy=MemRoPE(window=24, sink=1))
    assert made == VideoMLA(policy="memrope.window=24,sink=1")
    assert made.knobs()["policy"] == "memrope.window=24,sink=1"
    assert VideoMLA(policy=Full()).knobs()["policy"] == "full"
    assert VideoMLA(policy=AttentionSink(window=7, sink=1)).knobs() == VideoMLA().knobs()

    class Unregistered(Full):
        pass

    with pytest.raises(RegistryError, match=r"Unregistered of .* is not registered in the group"):
        VideoMLA(policy=Unregistered())


def test_the_policys_nature_is_its_own() -> None:
    assert not VideoMLA(policy="full").bounded
    assert VideoMLA(policy="memrope").bounded
    assert not VideoMLA(policy="memrope.init=paper").starts_as_full
    assert VideoMLA(policy="[memrope.window=9,sink=1]").kept == registry.strategy("memrope", window=9, sink=1)
    assert VideoMLA(window=10).kept == registry.strategy("attention_sink", window=10, sink=1)


@pytest.mark.parametrize("method", ["activation_svd", "svd", "random"])
def test_untrained_weights_say_so(method: str) -> None:
    bench = Workbench(VideoMLA(parameters=method))
    found = VideoMLA(parameters=method).weights(bench.backbone)
    assert not found.trained
    assert found.about == ("untrained, random" if method == "random" else "untrained, SVD only")
    assert all(latents.isfinite().all() for latents in bench.latents(4))


def test_without_trained_weights_it_is_the_svd_and_says_so() -> None:
    bench = Workbench(VideoMLA())
    assert VideoMLA().weights(bench.backbone).about == "untrained, SVD only"
    same = Workbench(VideoMLA(parameters="activation_svd"), bench.backbone)
    assert all(map(torch.equal, bench.latents(3), same.latents(3)))


def test_a_file_of_weights(tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Workbench(VideoMLA())
    backbone, path = bench.backbone, tmp_path / "own.safetensors"
    layers = nn.ModuleList(block.self_attn for block in VideoMLA(parameters="random").adapt(backbone).model.layers)
    write(layers, path, VideoMLA().purpose(backbone), "trained for a test")
    found = VideoMLA(parameters=str(path)).weights(backbone)
    assert (found.trained, found.about) == (True, "trained for a test")
    loaded = VideoMLA(parameters=str(path)).adapt(backbone).model.layers
    for ours, theirs in zip(loaded, layers, strict=True):
        for name, x in ours.self_attn.state_dict().items():
            assert torch.equal(x, theirs.state_dict()[name].half().float())
    # The same backbone in another data type is the same backbone; one with other weights is not.
    half = replace(backbone, model=build(CONFIG, dtype="bfloat16"))
    half.model.load_state_dict(backbone.model.state_dict())
    assert read(path, VideoMLA().purpose(half)).digest == found.digest
    other = replace(backbone, model=scramble(CausalWan(CONFIG), seed=1).requires_grad_(False))
    for asked, on in ((VideoMLA(parameters=str(path)), other), (VideoMLA(parameters=str(path), latent=2), backbone)):
        with pytest.raises(CheckpointError, match=r"trained for another purpose: .* train one with"):
            asked.adapt(on)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        VideoMLA(parameters=str(path)).adapt(replace(backbone, model=half.model))


@pytest.mark.nightly
def test_it_runs_compiled_and_in_either_lifetime() -> None:
    bench = Workbench(VideoMLA(evaluation="explicit"))
    plain = bench.latents(5)
    assert all(map(torch.equal, plain, bench.latents(5, layout="pass")))
    for ours, theirs in zip(bench.latents(5, compile=True), plain, strict=True):
        assert (ours - theirs).abs().max() < 2e-5


@pytest.mark.parametrize(
    ("policy", "evaluation"),
    [*itertools.product(["memrope", "sliding_window", "infinity_rope"], ["explicit", "absorbed"])],
)
def test_any_policy_of_frames_runs_on_latents(policy: str, evaluation: Evaluation) -> None:
    latent = Workbench(VideoMLA(policy=policy, evaluation=evaluation))
    unlike = Workbench(VideoMLA(policy="full", evaluation=evaluation), latent.backbone)
    ours, theirs = latent.latents(6), unlike.latents(6)
    assert (ours[0] - theirs[0]).abs().max() < 1e-5
    assert (ours[-1] - theirs[-1]).abs().max() > 1e-3
