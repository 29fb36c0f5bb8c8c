"""Interface of the modules that entry points of `horizon.trainings` refer to, used by `horizon train NAME`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from harness import registry
from harness.backbone.presets import Backbone
from harness.backbone.request import BackboneRequest
from harness.errors import HorizonError
from harness.memory import Strategy
from harness.training.loop import Trains

S = TypeVar("S", bound=Strategy)


@dataclass(frozen=True)
class Request:
    """A request for a training.

    what: NAME, or NAME.KNOB=VALUE for a strategy whose sizes are knobs. folder: receives checkpoints, logs and weights.
    backbone: name of the backbone; None for the pocket. seed: determines the clips, the noise and the initial weights.
    """

    what: str
    folder: Path
    backbone: str | None = None
    device: str = "cpu"
    seed: int = 0

    def strategy(self, kind: type[S]) -> S:
        """Return the strategy whose parameters are to be trained. Raises KnobError for knobs that it does not have."""
        _, found = registry.parse_strategy(self.what)
        assert isinstance(found, kind)
        return found

    def built(self) -> Backbone:
        """Return the backbone for which a strategy's parameters are trained, in float32.

        Raises UnknownNameError for a backbone that does not exist, and the errors of the backbone itself.
        """
        return registry.open_backbone(self.backbone_request())

    def backbone_request(self) -> BackboneRequest:
        """Return the request for that backbone."""
        return BackboneRequest(name=self.backbone or "pocket", device=self.device, dtype="float32")


class Recipe(Protocol):
    """Stages of a training in their order, and the files that they write."""

    ORDER: tuple[str, ...]

    def open_stage(self, stage: str, request: Request) -> Trains:
        """Return the trainer of a stage, resumed from its checkpoint or new."""
        ...

    def finish_stage(self, stage: str, trainer: Trains, request: Request, *, install: bool) -> Path:
        """Write a finished stage's weights; with `install`, also to the folder from which the package reads them."""
        ...


def chosen(recipe: Recipe, stage: str | None) -> tuple[str, ...]:
    """Return the stages to run. Raises HorizonError for one that does not exist."""
    if stage is not None and stage not in recipe.ORDER:
        raise HorizonError(f"no stage {stage!r}; allowed: {', '.join(recipe.ORDER)}")
    return recipe.ORDER if stage is None else (stage,)
