"""Pictures for training and testing the probe: true, damaged, covered, blended and meaningless ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.backbone.world import UNSURE
from harness.pocket.codec import PatchCodec
from harness.pocket.probe import OF_OBJECT, SEEN
from harness.pocket.world import NAMES, PIXELS, SIZES, SWING, curtained, film, script

COLUMNS = [NAMES.index(name) for name in SEEN]


@dataclass(frozen=True)
class Plate:
    """Pictures [N, 3, 32, 32] with their labels: values [N, 6] (-1: unreadable), places [N, 2], presence [N]."""

    pictures: Tensor
    values: Tensor
    places: Tensor
    present: Tensor


def truths(seeds: range, codec: PatchCodec | None = None) -> Plate:
    """Return one true picture a seed, encoded and decoded if a codec is given; consecutive seeds show consecutive beats
    of the swing."""
    count, beats = len(seeds), len(SWING)
    plate = Plate(
        torch.empty(count, 3, PIXELS, PIXELS),
        torch.empty(count, len(SEEN), dtype=torch.int64),
        torch.empty(count, 2),
        torch.ones(count, dtype=torch.bool),
    )
    for beat in range(min(beats, count)):
        here = seeds[beat::beats]
        clip = film([script("a thing")] * len(here), here, 1, beat)
        pictures = clip.pixels if codec is None else codec.decode(codec.encode(clip.pixels))
        plate.pictures[beat::beats], plate.places[beat::beats] = pictures[:, 0], clip.places[:, 0]
        plate.values[beat::beats] = clip.looks[:, 0, COLUMNS]
    return plate


def blur(pictures: Tensor, radius: Tensor) -> Tensor:
    """Return pictures with Gaussian blur; radius: standard deviation in pixels for each picture, [N]."""
    taps = torch.arange(-3, 4).float()
    kernel = torch.exp(-0.5 * (taps / radius.clamp(min=0.05)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None]
    flat = F.pad(pictures.flatten(0, 1)[None], (3, 3, 3, 3), mode="replicate")
    flat = F.conv2d(flat, kernel[:, :, None], groups=len(kernel))
    return F.conv2d(flat, kernel[:, :, :, None], groups=len(kernel))[0].view_as(pictures)


def noised(pictures: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures with white noise; strength: standard deviation for each picture, [N]."""
    return pictures + strength[:, None, None, None] * torch.randn(pictures.shape, generator=generator)


def faded(pictures: Tensor, contrast: Tensor) -> Tensor:
    """Return pictures with less contrast around mid-grey; contrast: [N], 1 leaves a picture unchanged."""
    return 0.5 + contrast[:, None, None, None] * (pictures - 0.5)


def shifted(pictures: Tensor, shift: Tensor) -> Tensor:
    """Return pictures with a constant added to each colour channel; shift: [N, 3]."""
    return pictures + shift[:, :, None, None]


def damaged(plate: Plate, generator: torch.Generator) -> Plate:
    """Return pictures with every kind of damage, each of a random strength at which a person can still read them."""
    count = len(plate.pictures)

    def upto(most: float, *shape: int) -> Tensor:
        some = torch.rand(count, *[1] * len(shape), generator=generator) < 0.5
        return most * torch.rand(count, *shape, generator=generator) * some

    pictures = blur(plate.pictures, upto(0.9))
    pictures = faded(pictures, 1 - upto(0.4))
    pictures = shifted(pictures, upto(0.1, 3) - upto(0.1, 3))
    pictures = noised(pictures, upto(0.12), generator)
    return Plate(pictures.clamp(0, 1), plate.values, plate.places, plate.present)


def covered(plate: Plate, share: Tensor) -> Plate:
    """Return pictures behind a curtain that covers a share [N] of the view; hidden attributes are unreadable."""
    edge = share * PIXELS
    radius = torch.tensor(SIZES)[plate.values[:, SEEN.index("size")]]
    top = plate.places[:, 1] - radius
    values = plate.values.clone()
    object_rows = [SEEN.index(name) for name in OF_OBJECT]
    scenery = [place for place in range(len(SEEN)) if place not in object_rows]
    values[:, object_rows] = values[:, object_rows].masked_fill((edge > top + 0.3 * radius)[:, None], UNSURE)
    values[:, scenery] = values[:, scenery].masked_fill((share > 0.6)[:, None], UNSURE)
    return Plate(curtained(plate.pictures, share), values, plate.places, edge < plate.places[:, 1])


def blended(plate: Plate, part: Tensor) -> Plate:
    """Return pictures blended with their neighbours by a part [N]; only values that both share are readable."""
    other = plate.pictures.roll(1, 0)
    mixed = torch.lerp(plate.pictures, other, part[:, None, None, None])
    same = plate.values == plate.values.roll(1, 0)
    near = (plate.places - plate.places.roll(1, 0)).norm(dim=1) < 2
    rows = torch.tensor([name in OF_OBJECT for name in SEEN])
    keep = same & (near[:, None] | ~rows)
    return Plate(mixed, plate.values.masked_fill(~keep, UNSURE), plate.places, near & plate.present)


def meaningless(count: int, generator: torch.Generator) -> Plate:
    """Return unreadable pictures: white noise, coarse noise, one colour, smooth gradients."""
    kinds = torch.randint(4, (count,), generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, 3, *shape, generator=generator)

    size = (PIXELS, PIXELS)
    choices = torch.stack(
        (
            uniform(*size),
            F.interpolate(uniform(6, 6), size, mode="nearest"),
            uniform(1, 1).expand(-1, -1, *size),
            F.interpolate(uniform(3, 3), size, mode="bilinear", align_corners=True),
        )
    )
    pictures = choices[kinds, torch.arange(count)]
    nothing = torch.full((count, len(SEEN)), UNSURE)
    return Plate(pictures, nothing, torch.zeros(count, 2), torch.zeros(count, dtype=torch.bool))


def joined(*plates: Plate) -> Plate:
    """Return the pictures of several plates as one."""
    fields = ("pictures", "values", "places", "present")
    return Plate(*(torch.cat([getattr(plate, name) for plate in plates]) for name in fields))


def moved(plate: Plate, device: torch.device) -> Plate:
    """Return the plate on a device."""
    return Plate(*(x.to(device) for x in vars(plate).values()))
