"""Names of parameters as wrappers, trainers, ComfyUI and diffusers write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness.backbone.checkpoints import load_checkpoint, names, read_checkpoint
from harness.backbone.presets import build, scramble
from harness.backbone.wan import CausalWan, WanConfig
from harness.errors import CheckpointError
from tests.backbone.checkpoints.test_load import CONFIG, SIZES, State, copied, refused, same, small
from tests.backbone.test_wan import one_pass, random

OWNED: dict[str, Callable[[str], str]] = {
    "DDP": lambda name: f"module.{name}",
    "DDP of a compiled owner": lambda name: f"module._orig_mod.model.{name}",
    "an owner in DDP in an owner": lambda name: f"model.module.model.{name}",
    "ComfyUI": lambda name: f"model.diffusion_model.{name}",
    "ComfyUI without an owner": lambda name: f"diffusion_model.{name}",
    "FSDP of every block": lambda name: (
        f"model._fsdp_wrapped_module.{name.replace('.ffn', '._fsdp_wrapped_module.ffn')}"
    ),
}


@pytest.mark.parametrize("how", OWNED)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_wrappers_put_before_names_is_removed(tmp_path: Path, how: str, suffix: str) -> None:
    saved = copied(small(1))
    called = {OWNED[how](name): x for name, x in saved.items()}
    path = tmp_path / f"a{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(called, path)
    model = small(0)
    assert load_checkpoint(model, path) == "bare"
    assert same(copied(model), saved)


def test_a_prefix_of_some_names_only_is_no_wrapper_s(tmp_path: Path) -> None:
    """A file of ComfyUI with its VAE in it, or two models in one: nothing is guessed."""
    saved = copied(small(1))
    torch.save({f"model.diffusion_model.{name}": x for name, x in saved.items()} | {"vae.x": torch.ones(1)},
               tmp_path / "a.pt")  # fmt: skip
    message = refused(small(0), tmp_path / "a.pt")
    assert "another architecture: missing" in message
    assert "vae.x" in message or "model.diffusion_model." in message


def theirs(**changes: Any) -> Any:
    """The same network in diffusers, with random weights that all matter."""
    from diffusers import WanTransformer3DModel

    sizes = {
        "num_attention_heads": SIZES["num_heads"],
        "attention_head_dim": SIZES["dim"] // SIZES["num_heads"],
        "in_channels": SIZES["in_dim"],
        "out_channels": SIZES["out_dim"],
        **{key: SIZES[key] for key in ("text_dim", "freq_dim", "ffn_dim", "num_layers")},
        **changes,
    }
    made: Any = WanTransformer3DModel(**sizes).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(4)
    for parameter in made.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return made


@pytest.mark.parametrize("shards", [1, 3])
def test_a_model_of_diffusers_computes_what_diffusers_computes(tmp_path: Path, shards: int) -> None:
    made = theirs()
    size = sum(x.nbytes for x in made.parameters())
    made.save_pretrained(tmp_path, max_shard_size=size // shards + 1000 if shards > 1 else "1GB")
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    assert index.exists() == (shards > 1)
    model = build(CONFIG, device="meta")
    load_checkpoint(model, index if shards > 1 else tmp_path / "diffusion_pytorch_model.safetensors")
    latents, prompts = random(1, 2, 3, SIZES["in_dim"], 4, 6), random(2, 2, SIZES["text_len"], SIZES["text_dim"])
    times = torch.tensor([937.5, 250.0])
    flow = one_pass(model, latents, times[:, None].expand(2, 3), prompts)
    expected = made(latents.transpose(1, 2), times, prompts).sample.transpose(1, 2)
    torch.testing.assert_close(flow, expected, atol=2e-5, rtol=1e-4)


def test_all_names_of_the_full_size_are_diffusers_own(tmp_path: Path) -> None:
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        made = WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=30)
    state = {names.parameter(name): x.shape for name, x in made.state_dict().items()}
    assert state == {name: x.shape for name, x in build(WanConfig(), device="meta").state_dict().items()}
    # Names that are ours already stay what they are, but for the norm: a file has the names of one of the two.
    assert not names.is_diffusers(build(CONFIG, device="meta").state_dict())


def test_diffusers_names_are_read_as_strictly(tmp_path: Path) -> None:
    state: State = {name: x.clone() for name, x in theirs().state_dict().items()}
    path = tmp_path / "a.safetensors"
    save_file({name: x for name, x in state.items() if name != "blocks.1.norm2.bias"}, path)
    assert "missing blocks.1.norm3.bias; this model has 69 parameters, the file 68" in refused(small(0), path)
    save_file(state | {"blocks.0.attn2.add_k_proj.weight": torch.zeros(12, 12)}, path)
    assert "unexpected blocks.0.cross_attn.k_img.weight" in refused(small(0), path)
    save_file(state | {"blocks.0.self_attn.q.weight": torch.zeros(12, 12)}, path)
    assert "several parameters share a name" in refused(small(0), path)


FP8 = [torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", FP8, ids=str)
@pytest.mark.parametrize("scaled", [(), (".scale_weight",), (".weight_scale", ".input_scale")], ids=len)
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_weights_of_8_bits_are_refused_by_name(
    tmp_path: Path, dtype: torch.dtype, scaled: tuple[str, ...], prefix: str
) -> None:
    state = {f"{prefix}{name}": x for name, x in copied(small(1)).items()}
    name = "blocks.0.self_attn.q"
    state[f"{prefix}{name}.weight"] = state[f"{prefix}{name}.weight"].to(dtype)
    state |= {f"{prefix}{name}{suffix}": torch.ones(1) for suffix in scaled}
    save_file(state, tmp_path / "a.safetensors")
    message = refused(small(0), tmp_path / "a.safetensors")
    assert message.startswith(f"quantised weights: {name}.weight is stored as {dtype}")
    assert "from float32, bfloat16, float16, float64: take the file that these were made from" in message
    assert any(f"{name}{suffix} is a scale" in message for suffix in scaled) == bool(scaled)


def test_the_mark_of_scaled_weights_is_known_without_them(tmp_path: Path) -> None:
    save_file(copied(small(1)) | {"scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}, tmp_path / "a.safetensors")
    assert "quantised weights: scaled_fp8 is stored as" in refused(small(0), tmp_path / "a.safetensors")


def test_weights_of_8_bits_do_not_hide_behind_an_adapter(tmp_path: Path) -> None:
    """Merging would make them float32."""
    state = copied(scramble(CausalWan(CONFIG)))
    torch.save({"generator": {name: x.to(torch.float8_e4m3fn) for name, x in state.items()}}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="quantised weights"):
        read_checkpoint(tmp_path / "a.pt")
