"""Translation of the names of parameters and layers in third-party files to those of the published DiT.

Training wrappers insert words into names (FSDP, DDP, torch.compile), and some tools put a prefix before all of them
(the object that a trainer saved, ComfyUI's `model.diffusion_model.`). Diffusers renames most layers, and calls the
third norm of a Wan block its second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

INFIXES = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
OWNERS = ("module.", "model.", "net.", "diffusion_model.")
_LAYERS = (
    (r"\battn1\.", "self_attn."), (r"\battn2\.", "cross_attn."), (r"\bto_([qkv])\b", r"\1"), (r"\bto_out\.0\b", "o"),
    (r"\badd_k_proj\b", "k_img"), (r"\badd_v_proj\b", "v_img"),
    (r"\bffn\.net\.0\.proj\b", "ffn.0"), (r"\bffn\.net\.2\b", "ffn.2"),
    (r"\bcondition_embedder\.text_embedder\.linear_1\b", "text_embedding.0"),
    (r"\bcondition_embedder\.text_embedder\.linear_2\b", "text_embedding.2"),
    (r"\bcondition_embedder\.time_embedder\.linear_1\b", "time_embedding.0"),
    (r"\bcondition_embedder\.time_embedder\.linear_2\b", "time_embedding.2"),
    (r"\bcondition_embedder\.time_proj\b", "time_projection.1"), (r"\bproj_out\b", "head.head"),
)  # fmt: skip
"""Names of layers in diffusers, and in the published files."""
_OTHERS = (
    (r"^scale_shift_table$", "head.modulation"),
    (r"^(blocks\.\d+)\.scale_shift_table$", r"\1.modulation"),
    (r"^(blocks\.\d+)\.norm2\.", r"\1.norm3."),
)
"""Other names that differ in diffusers: the modulations, and the only norm of a block that has weights."""


def native(names: Iterable[str]) -> list[str]:
    """Return names without the parts that wrappers added, in the same order."""
    bare = list(names)
    for infix in INFIXES:
        bare = [name.replace(infix, "") for name in bare]
    while owner := next((each for each in OWNERS if bare and all(name.startswith(each) for name in bare)), None):
        # A wrapper's prefix is on every name; a module of the same name is not.
        bare = [name.removeprefix(owner) for name in bare]
    return bare


def is_diffusers(names: Iterable[str]) -> bool:
    """Return whether the names of a model's parameters are those of diffusers."""
    return any(name.startswith("condition_embedder.") or ".attn1." in name for name in names)


def layer(name: str) -> str:
    """Return the published name of a layer that diffusers may name differently."""
    for theirs, ours in _LAYERS:
        name = re.sub(theirs, ours, name)
    return name


def parameter(name: str) -> str:
    """Return the published name of a parameter of a model in diffusers."""
    for theirs, ours in _OTHERS:
        name = re.sub(theirs, ours, name)
    return layer(name)
