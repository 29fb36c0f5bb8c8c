"""The pocket as a backbone: sizes, sampler, codec, text encoder and the weights that ship with the package."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

from torch import nn

from harness.backbone.checkpoints import load_checkpoint, read_metadata, save_weights
from harness.backbone.presets import Backbone, build, parse_dtype
from harness.backbone.sampler import Sampler
from harness.backbone.wan import CausalWan, WanConfig
from harness.errors import CheckpointError
from harness.pocket.codec import PatchCodec
from harness.pocket.known import PocketWorld
from harness.pocket.language import Saying, WordEncoder
from harness.pocket.probe import Probe
from harness.pocket.training.clips import HELD_OUT, clips
from harness.pocket.world import PIXELS, Scene, look

WEIGHTS = Path(__file__).parent / "weights"
VERSION = "4"
"""Version of the world and of the weights trained on it; weights of another version belong to another world."""

CONFIG = WanConfig(
    dim=128,
    ffn_dim=512,
    num_heads=4,
    num_layers=4,
    text_dim=WordEncoder.text_dim,
    text_len=WordEncoder.text_len,
    freq_dim=64,
    place_grid=(4, 4),
)
CHUNK = 3
TRAINED_FRAMES = 36
LATENT_SIZE = (8, 8)
EXAMPLES = 32
"""Number of example prompts, from the seeds that are for training."""


def pocket(device: str = "cpu", dtype: str = "float32") -> Backbone:
    """The embedded backbone: a small causal Wan DiT, trained on a procedural world whose truth is known.

    Moving objects before patterned grounds, 32 x 32 pixels, 16 tokens a latent frame, 0.25 s each; prompts are English
    sentences that may leave attributes open, so that only a memory can keep them. docs/pocket.md is its card.
    Raises CheckpointError where the shipped weights are missing, damaged or of another version.
    """
    model = build(CONFIG, device=device, dtype=dtype)
    if device != "meta":
        restore(model, WEIGHTS / "model.safetensors")
    return assembled(model, codec())


def assembled(model: CausalWan, codec: PatchCodec) -> Backbone:
    """Return the backbone around a model of these sizes and its codec, shipped or still in training."""
    return Backbone(
        name="pocket",
        model=model,
        sampler=Sampler(),
        chunk=CHUNK,
        trained_frames=TRAINED_FRAMES,
        latent_size=LATENT_SIZE,
        pictures_per_latent=1,
        stride=PIXELS // LATENT_SIZE[0],
        text=WordEncoder(),
        codec=codec,
        world=PocketWorld(probe),
        clips=partial(clips, codec, CHUNK),
        prompts=[Scene(0, Saying(look(HELD_OUT + number))).prompt for number in range(EXAMPLES)],
    )


@cache
def codec() -> PatchCodec:
    """Return the shipped codec."""
    made = PatchCodec()
    restore(made, WEIGHTS / "codec.safetensors")
    return made


@cache
def probe() -> Probe:
    """Return the shipped probe."""
    made = Probe().requires_grad_(False).eval()
    restore(made, WEIGHTS / "probe.safetensors")
    return made


def keep(module: nn.Module, path: Path, dtype: str = "float32", **about: str) -> None:
    """Write a module's weights and metadata, as a whole file or not at all. about: further metadata."""
    save_weights(module, path, parse_dtype(dtype), {"horizon": "pocket", "version": VERSION, **about})


def restore(module: nn.Module, path: Path) -> None:
    """Load shipped weights. Raises CheckpointError for a file that is missing, damaged or of another version."""
    found = about(path).get("version", "none")
    if found != VERSION:
        raise CheckpointError(
            f"{path}: weights of pocket version {found}, this Horizon needs {VERSION}; reinstall it, or train anew "
            "with: horizon train pocket"
        )
    load_checkpoint(module, path)


def about(path: Path) -> dict[str, str]:
    """Return the metadata of a file of weights. Raises CheckpointError where it is missing or damaged."""
    return read_metadata(path, "reinstall Horizon, or train with: horizon train pocket")
