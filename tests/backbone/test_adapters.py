"""LoRA adapters: merged is as good as unmerged, and what does not fit is refused."""

import pytest
import torch
from torch import nn

from harness.backbone.adapters import merged, read_adapter
from harness.backbone.checkpoints import fill
from harness.backbone.presets import build
from harness.backbone.wan import WanConfig
from harness.errors import CheckpointError
from harness.noise import PairedNoise
from harness.registry import strategy
from harness.rollout import rollout
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


def test_merged_equals_what_peft_computes(tmp_path):
    import peft

    base = published.model()
    torch.save(published.lora(base), tmp_path / "lora.pt")
    names = [
        name for name, module in base.named_modules() if isinstance(module, nn.Linear) and name.startswith("blocks.")
    ]
    wrapped = peft.get_peft_model(
        published.model(), peft.LoraConfig(r=published.RANK, lora_alpha=published.RANK, target_modules=names)
    )
    told = peft.set_peft_model_state_dict(wrapped, torch.load(tmp_path / "lora.pt"))
    assert not told.unexpected_keys
    together = merged(base.state_dict(), read_adapter(tmp_path / "lora.pt"), "lora.pt")
    theirs = wrapped.merge_and_unload().state_dict()
    assert theirs.keys() == together.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(together[name], value, atol=1e-5, rtol=0)


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
    ],
    ids=["half of it", "a full matrix", "another depth", "another width"],
)
def test_an_adapter_that_does_not_fit_is_refused(tmp_path, spoil, message):
    base = published.model()
    path = tmp_path / "lora.pt"
    torch.save({"generator_lora": spoil(published.lora(base))}, path)
    with pytest.raises(CheckpointError, match=message) as told:
        merged(base.state_dict(), read_adapter(path), path)
    assert str(path) in str(told.value)
