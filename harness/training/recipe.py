"""What `horizon train NAME` asks of the module that an entry point of `horizon.trainings` refers to."""

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
    """What is to be trained.

    what: NAME, or NAME.KNOB=VALUE for a strategy whose sizes are knobs. backbone: on which; None for the usual one.
    folder: of checkpoints, logs and weights. seed: decides the clips, the noise and the first weights.
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
        """Return the backbone for which a strategy's parameters are trained, in float32: the pocket, if none is named.

        Raises UnknownNameError for a backbone that there is not, and what the backbone itself raises.
        """
        return registry.open_backbone(self.backbone_request())

    def backbone_request(self) -> BackboneRequest:
        """Return what is asked of that backbone."""
        return BackboneRequest(name=self.backbone or "pocket", device=self.device, dtype="float32")


class School(Protocol):
    """Stages of a training in their order, and what each leaves behind."""

    ORDER: tuple[str, ...]

    def enrol(self, stage: str, request: Request) -> Trains:
        """A stage ready to go on from its checkpoint, or to begin."""
        ...

    def graduate(self, stage: str, trainer: Trains, request: Request, *, install: bool) -> Path:
        """Write a finished stage's weights; with `install` also where the package reads them."""
        ...


def chosen(school: School, stage: str | None) -> tuple[str, ...]:
    """The stages to run. Raises HorizonError for one that does not exist."""
    if stage is not None and stage not in school.ORDER:
        raise HorizonError(f"no stage {stage!r}; allowed: {', '.join(school.ORDER)}")
    return school.ORDER if stage is None else (stage,)
