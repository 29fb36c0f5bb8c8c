"""LoRA adapters: merged is as good as unmerged, and what does not fit is refused."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from harness.backbone.checkpoints import fill
from harness.backbone.presets import build
from harness.backbone.published.lora import merged, read_adapter
from harness.backbone.wan import WanConfig
from harness.errors import CheckpointError
from harness.registry import strategy
from harness.rollout import rollout
from harness.rollout.noise import PairedNoise
from tests import published


def rolled(model):
    """Two chunks of a rollout, [1, 6, 16, 4, 6]."""
    noise = PairedNoise([(0, "a fox")])
    prompts = torch.randn(1, 5, published.CONFIG["text_dim"], generator=torch.Generator().manual_seed(1))
    chunks = rollout(model, strategy("full"), prompts=prompts, latent_frames=6, latent_size=(4, 6), noise=noise)
    return torch.cat([chunk.latents for chunk in chunks], 1)


def test_merged_equals_unmerged(tmp_path):
    base = published.model()
    torch.save({"generator_lora": published.lora(base)}, tmp_path / "lora.pt")
    pairs = read_adapter(tmp_path / "lora.pt")
    assert len(pairs) == 20
    together = build(WanConfig(**published.CONFIG))
    fill(together, merged(base.state_dict(), pairs, "lora.pt"), "lora.pt")
    beside = published.model()
    for name, (down, up) in pairs.items():
        beside.get_submodule(name).register_forward_hook(
            lambda _, inputs, output, down=down, up=up: output + inputs[0] @ down.T @ up.T
        )
    assert (rolled(together) - rolled(base)).abs().max() > 0.01
    torch.testing.assert_close(rolled(together), rolled(beside), atol=1e-5, rtol=0)


def layers(base):
    return [name for name, x in base.named_modules() if isinstance(x, nn.Linear) and name.startswith("blocks.")]


@pytest.mark.parametrize(
    "options",
    [
        {"r": 4, "lora_alpha": 4},
        {"r": 4, "lora_alpha": 8},
        {"r": 4, "lora_alpha": 1},
        {"r": 8, "lora_alpha": 4, "use_rslora": True},
        {"r": 4, "lora_alpha": 8, "rank_pattern": {"self_attn.q": 2}, "alpha_pattern": {"self_attn.k": 1, "ffn.0": 16}},
        {"r": 4, "lora_alpha": 8, "rank_pattern": {r"blocks\.0\..*\.o": 2}, "alpha_pattern": {r"blocks\.1\..*": 3}},
    ],
    ids=["alpha is the rank", "alpha 8", "alpha 1", "rslora", "per layer", "per layer, by pattern"],
)
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_merged_equals_what_peft_computes(tmp_path, options, kind):
    # It takes two seconds to load, which every process that collects this file would spend.
    import peft

    base = published.model()
    wrapped = peft.get_peft_model(published.model(), peft.LoraConfig(target_modules=layers(base), **options))
    generator = torch.Generator().manual_seed(2)
    for name, value in wrapped.named_parameters():
        if "lora_" in name:
            value.data = 0.1 * torch.randn(value.shape, generator=generator)
    # As peft itself saves it, its configuration beside the matrices.
    wrapped.save_pretrained(tmp_path, safe_serialization=kind == "safetensors")
    path = tmp_path / f"adapter_model.{kind}"
    together = merged(base.state_dict(), read_adapter(path), path)
    theirs = wrapped.merge_and_unload().state_dict()
    assert theirs.keys() == together.keys()
    changed = 0
    for name, value in theirs.items():
        torch.testing.assert_close(together[name], value, atol=1e-6, rtol=0)
        off = value - base.state_dict()[name]
        if off.abs().max() > 0:
            changed += 1
            ratio = (together[name] - base.state_dict()[name]).norm() / off.norm()
            assert float(ratio) == pytest.approx(1, abs=1e-4)
    assert changed == len(layers(base))


WRAP = "base_model.model."
DIFFUSERS = {
    "self_attn.q": "attn1.to_q", "self_attn.k": "attn1.to_k", "self_attn.v": "attn1.to_v",
    "self_attn.o": "attn1.to_out.0", "cross_attn.q": "attn2.to_q", "cross_attn.k": "attn2.to_k",
    "cross_attn.v": "attn2.to_v", "cross_attn.o": "attn2.to_out.0", "ffn.0": "ffn.net.0.proj", "ffn.2": "ffn.net.2",
}  # fmt: skip


def renamed(name):
    for ours, theirs in DIFFUSERS.items():
        name = name.replace(f".{ours}.", f".{theirs}.")
    return name


WAYS = {
    "comfyui": lambda name: "diffusion_model." + name.replace("lora_A", "lora_down").replace("lora_B", "lora_up"),
    "kohya": lambda name: "lora_unet_"
    + name.replace(".lora_A", "|lora_down").replace(".lora_B", "|lora_up").replace(".weight", "^weight")
    .replace(".", "_").replace("|", ".").replace("^", "."),
    "diffusers": lambda name: "transformer." + renamed(name),
    "peft": lambda name: "base_model.model." + name,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_names_and_alphas_of_other_writers(tmp_path, way):
    base = published.model()
    plain = {name.removeprefix("base_model.model."): value for name, value in published.lora(base).items()}
    torch.save({"generator_lora": plain}, tmp_path / "published.pt")
    expected = read_adapter(tmp_path / "published.pt")
    state = {WAYS[way](name): value for name, value in plain.items()}
    alphas = {name.rpartition(".lora_")[0] + ".alpha" for name in state} if way in ("comfyui", "diffusers") else set()
    if way == "kohya":
        alphas = {name.partition(".")[0] + ".alpha" for name in state}
    state |= {name: torch.tensor(2.0 * published.RANK) for name in alphas}
    if way == "peft":
        state["lora_alpha"] = torch.tensor(2.0 * published.RANK)
    save_file(state, tmp_path / "theirs.safetensors")
    found = merged(base.state_dict(), read_adapter(tmp_path / "theirs.safetensors"), "theirs")
    twice = merged(base.state_dict(), {name: (down, 2 * up) for name, (down, up) in expected.items()}, "ours")
    for name, value in twice.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=0)
        assert (
            name.endswith("bias")
            or not name.startswith("blocks")
            or "norm" in name
            or "modulation" in name
            or ((value - base.state_dict()[name]).abs().max() > 0)
        )


@pytest.mark.parametrize(
    ("beside", "more", "says"),
    [
        (None, {}, "scale of the adapter is not known: alpha is neither in the file nor in adapter_config.json"),
        ("{}", {}, "the scale of the adapter is not known"),
        ('{"lora_alpha": "many"}', {}, "adapter_config.json: lora_alpha is not a finite number: 'many'"),
        ('{"lora_alpha": NaN}', {}, "adapter_config.json: lora_alpha is not a finite number: nan"),
        ('{"lora_alpha": true}', {}, "lora_alpha is not a finite number: True"),
        ('{"lora_alpha": 1' + "0" * 400 + "}", {}, r"lora_alpha is not a finite number: 10+\.\.\."),
        (None, {"lora_alpha": torch.ones(3)}, r"lora_alpha is not a finite number: 'torch.float32 \[3\] on cpu'"),
        (None, {"lora_alpha": 10**400}, r"lora_alpha is not a finite number: 10+\.\.\."),
        (None, {"lora_alpha": 1j}, "lora_alpha is not a finite number: 1j"),
        (None, {"lora_alpha": torch.tensor(1j)}, "lora_alpha is not a finite number: 'torch.complex64"),
        (None, {"blocks.0.ffn.0.alpha": torch.ones(2)}, r"blocks.0.ffn.0.alpha is not a finite number: '.* \[2\] on"),
        (None, {"blocks.0.ffn.0.alpha": torch.tensor(1j)}, "blocks.0.ffn.0.alpha is not a finite number"),
        (None, {"blocks.0.ffn.0.alpha": torch.ones(1, device="meta")}, "is not a finite number: .* on meta"),
        ('{"lora_alpha": 4, "alpha_pattern": [1]}', {}, r"alpha_pattern is \[1\], not numbers by layer"),
        ('{"lora_alpha": 4, "alpha_pattern": {"q": "x"}}', {}, "alpha_pattern of q is not a finite number: 'x'"),
        ('{"lora_alpha": 4, "alpha_pattern": {"q(": 2}}', {}, r"'q\(' is no regular expression"),
        ('{"lora_alpha": 4, "alpha_pattern": {"(.*)*x": 2}}', {}, "is too complex: allowed are at most"),
        ('{"lora_alpha": 4, "alpha_pattern": {"(?=(.+)+x)": 2}}', {}, "is too complex: allowed are at most"),
        ('{"lora_alpha": 4, "alpha_pattern": {".*.*.*.*.*.*x": 2}}', {}, "is too complex: allowed are at most"),
        ('{"lora_alpha": null}', {}, "the scale of the adapter is not known"),
        ("{", {}, "adapter_config.json: not a configuration of peft"),
        ("[]", {}, "adapter_config.json: not a configuration of peft"),
        ('{"lora_alpha": 4, "use_dora": true}', {}, "says DoRA, which is not merged here"),
        ('{"lora_alpha": 4}', {"base_model.model.blocks.0.ffn.0.lora_magnitude_vector.weight": torch.ones(3)},
         "not a LoRA adapter: .*; it is DoRA, not LoRA"),
        ('{"lora_alpha": 4}', {"diffusion_model.blocks.0.ffn.0.diff": torch.ones(3, 3)}, "full weights, not LoRA"),
    ],
)  # fmt: skip
def test_an_adapter_whose_scale_is_not_known_is_refused(tmp_path, beside, more, says):
    torch.save({**published.lora(published.model()), **more}, tmp_path / "lora.pt")
    if beside is not None:
        (tmp_path / "adapter_config.json").write_text(beside, encoding="utf-8")
    with pytest.raises(CheckpointError, match=says) as caught:
        read_adapter(tmp_path / "lora.pt")
    assert "\n" not in str(caught.value)


def test_half_precision_is_merged_in_float32():
    weight = torch.full((1, 1), 1.0, dtype=torch.bfloat16)
    down = up = torch.full((1, 1), 0.05, dtype=torch.bfloat16)
    whole = merged({"a.weight": weight, "a.bias": weight[0]}, {"a": (down, up)}, "x")
    assert whole["a.weight"].dtype == torch.float32
    # 1.0025 is no number of bfloat16.
    assert float(whole["a.weight"]) == pytest.approx(1.0025, abs=1e-5)
    assert whole["a.bias"] is not None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: {k: v for k, v in state.items() if "lora_B" not in k}, "no fitting pair of matrices: A"),
        (
            lambda state: {**state, "base_model.model.head.weight": torch.ones(2, 2)},
            "not a LoRA adapter: base_model.model.head",
        ),
        (
            lambda state: {k.replace("blocks.1", "blocks.7"): v for k, v in state.items()},
            "the base has no layer blocks.7",
        ),
        (lambda state: {k: v[:, :-1] if "lora_A" in k else v for k, v in state.items()}, "adapter of another size"),
        (lambda state: {k: v[:0] if "lora_A" in k else v[:, :0] for k, v in state.items()}, "matrices of rank 0"),
        (lambda state: state | {renamed(k): v for k, v in state.items()}, "is changed twice, under two names"),
        (
            lambda state: state | {WAYS["kohya"](k.removeprefix(WRAP)): v for k, v in state.items()},
            "is changed twice, under two names",
        ),
        (lambda state: {k: v.to("meta") for k, v in state.items()}, "holds no numbers"),
        *(
            (lambda state, to=to: {k: v.to(to) for k, v in state.items()}, f"lora_A.weight {says}")
            for to, says in (
                (torch.complex64, "is stored as torch.complex64; an adapter is read from float32, bfloat16"),
                (torch.int32, "is stored as torch.int32"),
                (torch.float8_e4m3fn, "is stored as torch.float8_e4m3fn"),
            )
        ),
    ],
    ids=[
        *("half of it", "a full matrix", "another depth", "another width", "rank 0", "twice", "twice, flat"),
        *("no numbers", "complex", "whole numbers", "8 bits"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(tmp_path, spoil, message):
    base = published.model()
    path = tmp_path / "lora.pt"
    torch.save({"generator_lora": spoil(published.lora(base))}, path)
    with pytest.raises(CheckpointError, match=message) as told:
        merged(base.state_dict(), read_adapter(path), path)
    assert str(path) in str(told.value)
