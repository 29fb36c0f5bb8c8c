"""The published models: their files, licences, and the strategies that they were published with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.backbone.published import pins
from harness.backbone.published.artifacts import Artifact

APACHE = "Apache-2.0"
DecoderName = Literal["wan", "light"]
"""What makes pictures of latents: Wan's VAE, or a small network distilled from it."""


@dataclass(frozen=True)
class Published:
    """A published backbone.

    container: of its checkpoint; also read from a user's checkpoint that has it. adapter: a LoRA file that is merged
    into the checkpoint. licence: of checkpoint and adapter; Wan's files are under Apache-2.0. recommended: the strategy
    with the window and sink that it was published with, as `--strategy` takes it.
    """

    name: str
    checkpoint: Artifact
    container: str
    adapter: Artifact | None = None
    licence: str = APACHE
    recommended: str = "sliding_window.window=21"

    def files(self, decoder: str = "wan") -> tuple[Artifact, ...]:
        """Return all files of the backbone with a decoder."""
        others = pins.WAN if decoder == "wan" else (*pins.TEXT, pins.LIGHT_DECODER)
        return (self.checkpoint, *((self.adapter,) if self.adapter else ()), *others)


SELF_FORCING = Published("self-forcing", pins.SELF_FORCING, "generator_ema")
LONG_LIVE = Published(
    "longlive",
    pins.LONGLIVE,
    "generator",
    pins.LONGLIVE_ADAPTER,
    licence="CC-BY-NC-SA-4.0",
    recommended="attention_sink.sink=3,window=12,on_switch=recache",
)
CAUSAL_FORCING = Published("causal-forcing", pins.CAUSAL_FORCING, "generator")
SELF_GRADIENT_FORCING = Published(
    "sgf",
    pins.SELF_GRADIENT_FORCING,
    "generator_ema",
    recommended="attention_sink.sink=3,window=12,pinned_at=20",
)
BY_NAME = {published.name: published for published in (SELF_FORCING, LONG_LIVE, CAUSAL_FORCING, SELF_GRADIENT_FORCING)}
"""All published backbones, by their names in the registry."""

EXAMPLES = (
    "A tabby cat with a green collar walks slowly along a wooden garden fence in the morning sun, its tail upright, "
    "while leaves move in a light wind behind it; the camera follows at its height.",
    "An old red tram drives through a narrow street in the rain at dusk, its lights mirrored on the wet stones, people "
    "with umbrellas passing by; a steady shot from the pavement.",
    "A potter in a grey apron shapes a tall vase on a turning wheel, wet clay shining between her hands, shelves of "
    "bowls out of focus behind her; close-up, soft light from a window.",
    "Waves roll onto a black sand beach below green cliffs, foam running up and back again, gulls gliding over the "
    "water; a slow aerial shot along the coast under a cloudy sky.",
    "A steam locomotive pulls brown carriages over a stone viaduct in autumn, white smoke drifting over yellow trees; "
    "the camera flies beside the train.",
    "Three orange koi swim in circles in a clear garden pond, water lilies swaying above them and light dancing on the "
    "pebbles; seen from above.",
    "A dancer in a long blue dress turns on an empty stage, the cloth flying around her, one warm spotlight from the "
    "left; a wide shot that slowly comes nearer.",
    "A small robot with a round white head waters rows of plants in a greenhouse, moving from pot to pot, steam on the "
    "glass; stylised animation with soft colours.",
)
"""Prompts for calibration and training; none of them is part of a suite."""
