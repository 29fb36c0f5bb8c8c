"""The knobs of Echo-Infinity, and the adaptation of a backbone with its encoder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import nn

from harness.backbone.checkpoints import load_checkpoint, read_metadata
from harness.backbone.kept import Kept
from harness.backbone.layout import DenseLayout
from harness.backbone.presets import Backbone, build
from harness.backbone.wan import CausalWan
from harness.errors import BudgetError, KnobError
from harness.files import digest
from harness.memory import Memory, MemorySpec, Strategy, Weights
from harness.memory.frames import OnSwitch, Positions, check_window, sink_at, window_bytes
from harness.training.weights import Purpose, Trained, read, shipped
from strategies.echo_infinity.encoder import QueryMemoryEncoder, Shape, encoders_of
from strategies.echo_infinity.memory import QueryMemory, Update

NAME = "query_memory_encoder"
"""Name of the encoder in published checkpoints."""
RECIPE = "1"
"""Version of the untrained parameters; a new version makes other ones."""
WEIGHTS = Path(__file__).parent / "weights"
"""Folder of shipped parameters, one file a backbone, named after it."""

_adapted: Kept[CausalWan] = Kept()


@dataclass(frozen=True, kw_only=True)
class EchoInfinity(Strategy):
    """Learned queries that are updated with the video, between a sink and the latest frames.

    window: latent frames in all, sink and current chunk included, the memory not. sink: latent frames that never leave.
    memory: memory frames between them, 0 for none. reach: temporal ids stay below it, with relative positions.
    positions: "relative" (unified relative RoPE) or "absolute" frame ids, where the encoder sees rotated keys.
    update: after the "first_pass" of the next chunk, with the "clean" pass that evicts, or "never": the memory then
        stays the initial queries. groups: of consecutive layers, each with its own queries. source: the layer whose
        evicted keys and values are read: the "last" block, the "middle" one, or the last of each "group".
    encoder_layers, gate, residual, sink_anchor, normed_keys: of the encoder: its depth; whether a learned share of the
        old queries stays; whether its output is taken without connector and gate; whether it sees the sink too; whether
        memory keys are normed.
    on_switch: at a prompt switch "recache" (the sink stays), "recache_all", "keep" or "flush", as for attention_sink;
        the memory stays. memory_recache: whether frames that are cached again attend to the memory.
    parameters: "trained" (those that ship, or untrained ones where none ship for this backbone), "untrained", or a
        file: of `horizon train echo_infinity`, or the published checkpoint with its own model.
    """

    paper = "https://arxiv.org/abs/2606.04527"

    window: Annotated[int, Ge(1)] = 12
    sink: Annotated[int, Ge(0)] = 3
    memory: Annotated[int, Ge(0)] = 3
    reach: Annotated[int, Ge(1)] = 21
    positions: Positions = "relative"
    update: Update = "first_pass"
    groups: Annotated[int, Ge(1)] = 1
    source: Literal["last", "middle", "group"] = "last"
    encoder_layers: Annotated[int, Ge(1)] = 2
    gate: bool = True
    residual: bool = False
    sink_anchor: bool = False
    normed_keys: bool = True
    on_switch: OnSwitch = "recache"
    memory_recache: bool = False
    parameters: str = "trained"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.parameters not in ("trained", "untrained") and not self.parameters.endswith((".safetensors", ".pt")):
            raise KnobError(
                f"EchoInfinity: knob parameters = {self.parameters!r} is not allowed; allowed: trained | untrained | "
                "a .safetensors or .pt file"
            )

    def sources(self, layers: int) -> list[int]:
        """Return the layer whose evicted entries each group reads."""
        last = {"last": [layers - 1] * self.groups, "middle": [layers // 2] * self.groups}
        by_group = [-(-layers * (group + 1) // self.groups) - 1 for group in range(self.groups)]
        return last.get(self.source, by_group)

    def open(self, spec: MemorySpec) -> Memory:
        check_window("echo_infinity", spec, self.window, self.sink)
        if not isinstance(spec.layout, DenseLayout):
            raise KnobError(
                "echo_infinity reads whole keys and values, which a latent cache does not hold; "
                "choose another policy for that layout"
            )
        if self.groups > spec.layers:
            raise KnobError(f"echo_infinity: {self.groups} groups of {spec.layers} layers; use 1 to {spec.layers}")
        if self.positions == "relative" and self.reach < self.window + self.memory:
            raise KnobError(
                f"echo_infinity: reach {self.reach} has no room for a window of {self.window} and {self.memory} memory "
                f"frames; raise it to at least {self.window + self.memory}"
            )
        encoders = encoders_of(spec.module) if self.memory else []
        if self.memory and not encoders:
            raise KnobError("echo_infinity: opened for a bare backbone; use the spec of adapt(backbone)")
        tokens = encoders[0].shape.tokens if encoders else spec.frame_tokens
        if spec.frame_tokens != tokens:
            raise KnobError(
                f"echo_infinity: its queries are for frames of {tokens} tokens, but the spec has {spec.frame_tokens}; "
                "choose the backbone's usual latent size"
            )
        return self.memory_of(spec, encoders)

    def memory_of(self, spec: MemorySpec, encoders: Sequence[QueryMemoryEncoder]) -> QueryMemory:
        """Return the memory of one rollout, with these encoders of its groups."""
        return QueryMemory(
            spec,
            encoders,
            self.sources(spec.layers),
            window=self.window,
            sink=self.sink,
            positions=self.positions,
            on_switch=self.on_switch,
            memory=self.memory,
            reach=self.reach,
            update=self.update,
            gate=self.gate,
            residual=self.residual,
            sink_anchor=self.sink_anchor,
            memory_recache=self.memory_recache,
        )

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        held = window_bytes(spec, self.window, frames)
        excess = frames - (self.window - spec.chunk)
        if excess <= 0 or not self.memory:
            return held
        frame = spec.bytes(spec.frame_tokens) // spec.layers  # bytes in one layer
        exact = spec.bytes(spec.frame_tokens, spec.dtype) // spec.layers
        clean = self.update == "clean"
        read = len(set(self.sources(spec.layers))) if self.update == "first_pass" else 0
        leaving = read * min(excess, spec.chunk) * frame
        begun = clean or excess > spec.chunk
        # Keys, values and queries of the memory have the same width; without updates the queries are not stored.
        parts = 2 if self.update == "never" else 3
        return held + leaving + begun * self.memory * self.groups * parts * exact // 2

    def resized(self, spec: MemorySpec, frames: int) -> EchoInfinity:
        if self.memory > self.sink + spec.chunk:
            raise BudgetError(
                f"{self.memory} memory frames have no ids behind a sink of {self.sink} at the first eviction; "
                f"lower memory to at most {self.sink + spec.chunk}"
            )
        # The number of queries is fixed by their training.
        cached = frames - self.memory
        sink = sink_at(spec, cached, self.window, self.sink)
        # The memory first appears at the ids of the latest evicted frames and before; these must not be below 0.
        while self.memory and sink + spec.chunk - cached % spec.chunk < self.memory:
            cached -= 1
            sink = sink_at(spec, cached, self.window, self.sink)
        window = cached + spec.chunk
        reach = max(self.reach, window + self.memory) if self.positions == "relative" else self.reach
        return replace(self, window=window, sink=sink, reach=reach)

    def position_limit(self, spec: MemorySpec) -> int | None:
        return self.reach if self.positions == "relative" else None

    def adapt(self, backbone: Backbone) -> Backbone:
        """Return the backbone with this strategy's encoder beside it; unchanged if the strategy has no memory.

        Raises CheckpointError for parameters that do not fit.
        """
        if not self.memory:
            return backbone
        # Several backbones may share one model, and parameter files belong to a backbone's name.
        key = (self.shape(backbone), self.groups, self.parameters, backbone.name)
        return replace(backbone, model=_adapted.get(backbone.model, key, lambda: self.twin(backbone)))

    def weights(self, backbone: Backbone) -> Weights | None:
        if not self.memory:
            return None
        trained = self._source(backbone)
        if trained is not None:
            return Weights(True, trained.about, trained.digest)
        return Weights(False, "untrained", hashlib.sha256(f"untrained {RECIPE}".encode()).hexdigest())

    def shape(self, backbone: Backbone) -> Shape:
        """Return the sizes of the encoder on a backbone."""
        tokens = math.prod(backbone.model.config.grid(backbone.latent_size))
        return Shape(frames=self.memory, tokens=tokens, layers=self.encoder_layers, normed=self.normed_keys)

    def purpose(self, backbone: Backbone) -> Purpose:
        """Return the purpose that a parameter file must have been trained for."""
        return Purpose("echo_infinity", backbone, f"{self.shape(backbone)!r} groups={self.groups}")

    def _source(self, backbone: Backbone) -> Trained | None:
        if self.parameters == "untrained":
            return None
        if self.parameters == "trained":
            return shipped(WEIGHTS, self.purpose(backbone))
        path = Path(self.parameters)
        if _published(path):
            return Trained(path, f"published checkpoint {path.name}", digest(path))
        return read(path, self.purpose(backbone))

    def twin(self, backbone: Backbone) -> CausalWan:
        """Return a separate model with its own encoder; it shares everything else with the original."""
        model, trained = backbone.model, self._source(backbone)
        with torch.device(model.device), torch.random.fork_rng():
            torch.manual_seed(0)
            encoders = [QueryMemoryEncoder(model.config, self.shape(backbone)) for _ in range(self.groups)]
        module = (encoders[0] if self.groups == 1 else nn.ModuleList(encoders)).to(model.dtype).requires_grad_(False)
        if trained is not None and _published(trained.path):
            # The encoder was trained together with this model, so the checkpoint includes both.
            own = build(model.config, device=str(model.device), dtype=str(model.dtype).removeprefix("torch."))
            adapted = own.with_memory_module(NAME, module)
            load_checkpoint(adapted, trained.path)
            return adapted
        if trained is not None and model.device.type != "meta":
            load_checkpoint(module, trained.path)
        return model.with_memory_module(NAME, module)


def _published(path: Path) -> bool:
    """Return whether a file is a checkpoint of a whole model, not a file of `horizon train`."""
    return path.is_file() and (path.suffix != ".safetensors" or "horizon" not in read_metadata(path, "fetch it again"))
