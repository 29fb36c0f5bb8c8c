"""Folders of weights in the published formats, names and layout, so small that a test can make them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from torch import nn

from harness.backbone.presets import scramble
from harness.backbone.published.artifacts import SUMS
from harness.backbone.wan import CausalWan, WanConfig

CONFIG = {
    "dim": 48,
    "ffn_dim": 64,
    "num_heads": 2,
    "num_layers": 2,
    "text_dim": 32,
    "text_len": 24,
    "freq_dim": 32,
}
SIZE = (32, 48)
RANK = 4


def model() -> CausalWan:
    """What the checkpoints hold."""
    return scramble(CausalWan(WanConfig(**CONFIG)), seed=3).requires_grad_(False)


def lora(base: nn.Module, rank: int = RANK) -> dict[str, torch.Tensor]:
    """An adapter of every linear layer inside every block, named as peft saves it."""
    generator = torch.Generator().manual_seed(5)
    found = {}
    for name, module in base.named_modules():
        if isinstance(module, nn.Linear) and name.startswith("blocks."):
            for half, shape in (("A", (rank, module.in_features)), ("B", (module.out_features, rank))):
                found[f"base_model.model.{name}.lora_{half}.weight"] = 0.1 * torch.randn(shape, generator=generator)
    return found


def make(folder: Path) -> Path:
    """All files of both published backbones, with their sums."""
    for part in ("checkpoints", "models"):
        (folder / part).mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    state = model().state_dict()
    torch.save(
        {"generator_ema": {f"model.{name}": x for name, x in state.items()}}, folder / "checkpoints/self_forcing_dmd.pt"
    )
    wrapped = {f"model._fsdp_wrapped_module.{name}": x for name, x in state.items()}
    torch.save({"generator": wrapped, "critic": {}}, folder / "models/longlive_base.pt")
    torch.save({"generator_lora": lora(model())}, folder / "models/lora.pt")
    vae(folder / "vae")
    light(folder / "taew2_1.pth")
    encoder(folder / "text_encoder", folder / "tokenizer")
    sums(folder)
    return folder


def vae(folder: Path, **changes: object) -> None:
    """A VAE folder of diffusers."""
    from diffusers import AutoencoderKLWan

    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = AutoencoderKLWan(**{"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1, **changes})
        made.save_pretrained(folder)


def light(path: Path) -> None:
    """A file of TAEHV, in half precision as published."""
    from harness.backbone.published.light import Networks

    with torch.random.fork_rng():
        torch.manual_seed(4)
        made = Networks(8, (16, 12, 8, 8))
    torch.save({name: x.half() for name, x in made.state_dict().items()}, path)


def encoder(folder: Path, tokenizer: Path) -> None:
    """A UMT5 folder of transformers, and a tokenizer of single letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

    with torch.random.fork_rng():
        torch.manual_seed(2)
        config = UMT5Config(
            d_model=CONFIG["text_dim"],
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_heads=2,
            vocab_size=128,
        )
        UMT5EncoderModel(config).save_pretrained(folder)
    # Wan's files say that words are not tied, and hold one matrix, `shared.weight`; the library writes the opposite.
    path = folder / "config.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text(encoding="utf-8")), "tie_word_embeddings": False}), encoding="utf-8"
    )
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2, **{chr(code): code for code in range(33, 127)}}
    letters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("", "isolated")]
    )
    letters.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=letters, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(tokenizer)


def sums(folder: Path) -> None:
    """Write SHA256SUMS anew, as sha256sum does."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (path.parent != folder or path.suffix == ".pth")
    ]
    (folder / SUMS).write_text("\n".join(lines) + "\n", encoding="utf-8")
