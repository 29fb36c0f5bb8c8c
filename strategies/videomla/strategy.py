"""The knobs of VideoMLA, and the adaptation of a backbone to latent attention."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, cast

import torch
from annotated_types import Ge
from torch import nn

from harness import registry
from harness.backbone.checkpoints import load_checkpoint
from harness.backbone.kept import Kept
from harness.backbone.presets import Backbone
from harness.backbone.wan import CausalWan
from harness.errors import KnobError
from harness.memory import Memory, MemorySpec, Strategy, Weights
from harness.memory.budget import META
from harness.memory.proxy import Wrapping
from harness.training.weights import Purpose, Trained, read, shipped
from strategies.videomla.attention import Evaluation, LatentAttention, Sizes
from strategies.videomla.initial import RECIPE, UNTRAINED, fill
from strategies.videomla.layout import LatentLayout

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of shipped parameters, one file a backbone, named after it."""

_adapted: Kept[CausalWan] = Kept()


@dataclass(frozen=True, kw_only=True, repr=False)
class VideoMLA(Wrapping):
    """A low-rank latent cache, under the paper's sink and window or any other token policy.

    policy: which frames of the cache are kept: another strategy, or as text NAME or NAME.KNOB=VALUE; several knobs in
        brackets on the command line, policy=[memrope.window=24,sink=1]. The paper's sink 1 and window 6 are read as 7
        latent frames with the current chunk; `window=10` is the other reading, 6 beside the chunk.
    window: latent frames in all, for a policy that has this knob; none = the policy's own value.
    latent, query_latent: widths of the latents; none = an eighth and half of the model's width.
    rope: channels of a head that positions rotate; none = a quarter. latent_norm: whether both latents have norms.
    parameters: "trained" (those that ship, or "activation_svd" where none ship for this backbone), untrained ones
        ("activation_svd", "svd", "random"), or a file from `horizon train videomla`.
    evaluation: "explicit" keys and values, "absorbed" into queries and output, or "auto", whichever is less work.
    """

    paper = "https://arxiv.org/abs/2605.30351"

    policy: Strategy = field(
        default_factory=lambda: cast(Strategy, registry.strategy_in_knob("attention_sink.window=7,sink=1"))
    )
    window: Annotated[int, Ge(1)] | None = None
    latent: Annotated[int, Ge(1)] | None = None
    query_latent: Annotated[int, Ge(1)] | None = None
    rope: Annotated[int, Ge(0)] | None = None
    latent_norm: bool = True
    parameters: str = "trained"
    evaluation: Evaluation = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", registry.strategy_in_knob(self.policy))
        super().__post_init__()
        if self.parameters not in ("trained", *UNTRAINED) and not self.parameters.endswith(".safetensors"):
            raise KnobError(
                f"VideoMLA: knob parameters = {self.parameters!r} is not allowed; allowed: trained | "
                f"{' | '.join(UNTRAINED)} | a .safetensors file of horizon train videomla"
            )
        if type(self.policy).adapt is not Strategy.adapt:
            name = registry.name_of(self.policy)
            raise KnobError(f"videomla: policy {name} has layers of its own; choose one that only keeps and drops")
        if self.window is not None and "window" not in self.policy.knobs():
            name = registry.name_of(self.policy)
            raise KnobError(f"videomla: policy {name} has no knob window; leave window out")
        _ = self.kept  # Raises now, not at `open`, for a window that the policy does not allow.

    @cached_property
    def kept(self) -> Strategy:
        """The policy with its window."""
        if self.window is None:
            return self.policy
        changed: dict[str, Any] = {"window": self.window}
        return replace(self.policy, **changed)

    @property
    def wrapped(self) -> Strategy:
        return self.kept

    def parts(self) -> dict[str, Strategy]:
        return {"policy": self.kept}

    def open(self, spec: MemorySpec) -> Memory:
        if not isinstance(spec.layout, LatentLayout):
            raise KnobError("videomla: the memory was opened for a dense backbone; take the spec of adapt(backbone)")
        return super().open(spec)

    def at_budget(self, spec: MemorySpec, budget: int) -> VideoMLA:
        """Return the policy at these bytes; the latents keep the width that they were trained with."""
        self.open(replace(spec, device=META))  # raises for a spec that does not fit
        found = self.kept.at_budget(spec, budget)
        if found == self.kept:
            return self
        sized: dict[str, Any] = {"window": found.knobs().get("window")}
        if sized["window"] is not None and replace(self.kept, **sized) == found:
            return replace(self, **sized)
        return replace(self, policy=found, window=None)

    def adapt(self, backbone: Backbone) -> Backbone:
        """Return the backbone with latent attention in every layer; it shares everything else with the original.

        Raises KnobError for sizes that do not fit, CheckpointError for a parameter file that does not.
        """
        # Several backbones may share one model; a parameter file depends on the name, a calibration on all of these.
        about = ("name", "sampler", "chunk", "independent_first_frame", "trained_frames", "latent_size", "prompts")
        plays = repr([getattr(backbone, name) for name in about])
        key = (self.sizes(backbone), self.parameters, self.evaluation, plays)
        return replace(backbone, model=_adapted.get(backbone.model, key, lambda: self._adapted(backbone)))

    def weights(self, backbone: Backbone) -> Weights:
        trained, method = self._source(backbone)
        adapted = self.adapt(backbone)
        spec = adapted.memory_spec()
        capacity = self.open(replace(spec, device=torch.device("meta"))).capacity
        held = backbone.trained_frames if capacity is None else capacity
        first = adapted.model.layers[0].self_attn
        assert isinstance(first, LatentAttention)
        tokens = spec.frame_tokens
        absorbs = first.absorbs(backbone.chunk * tokens, (held + backbone.chunk) * tokens)
        chosen = {"evaluation": "absorbed" if absorbs else "explicit"}
        if trained is not None:
            return Weights(True, trained.about, trained.digest, chosen)
        return Weights(False, UNTRAINED[method], hashlib.sha256(f"{method} {RECIPE}".encode()).hexdigest(), chosen)

    def sizes(self, backbone: Backbone) -> Sizes:
        """Return the widths of the latents on a backbone. Raises KnobError for widths that do not fit."""
        return Sizes.of(backbone.model.config, self.latent, self.query_latent, self.rope, self.latent_norm)

    def purpose(self, backbone: Backbone) -> Purpose:
        """Return the purpose that a parameter file must have been trained for."""
        return Purpose("videomla", backbone, repr(self.sizes(backbone)))

    def _source(self, backbone: Backbone) -> tuple[Trained | None, str]:
        """Return the trained parameters, or None and the method that makes parameters without training."""
        if self.parameters in UNTRAINED:
            return None, self.parameters
        if self.parameters != "trained":
            return read(Path(self.parameters), self.purpose(backbone)), ""
        return shipped(WEIGHTS, self.purpose(backbone)), "activation_svd"

    def _adapted(self, backbone: Backbone) -> CausalWan:
        model, sizes = backbone.model, self.sizes(backbone)
        trained, method = self._source(backbone)
        with torch.device(model.device):
            layers = [LatentAttention(model.config, sizes, self.evaluation) for _ in model.layers]
        if model.device.type != "meta":
            if trained is not None:
                load_checkpoint(nn.ModuleList(layers), trained.path)
            else:
                fill(layers, backbone, method)
        return model.with_self_attention([layer.to(model.dtype).requires_grad_(False) for layer in layers])
