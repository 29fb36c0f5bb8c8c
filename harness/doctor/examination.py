"""All checks of a machine in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness import registry
from harness.backbone.kernels.attention import PACKAGES
from harness.backbone.presets import Backbone
from harness.backbone.published.backbones import BY_NAME, files_of
from harness.backbone.request import BackboneRequest
from harness.doctor import kernels, media, parity
from harness.doctor.checks import Check
from harness.doctor.folder import FolderProbes, check_folder
from harness.doctor.machine import Machine, check_machine, chosen, read_machine
from harness.doctor.needs import check_needs
from harness.doctor.weights import check_files, check_packages, check_shipped
from harness.errors import HorizonError, why
from harness.provenance.environment import installed_version


@dataclass(frozen=True)
class Patient:
    """What is examined.

    Parameters
    ----------
    device
        The requested device, "cpu", "cuda", "cuda:1"; None for a GPU if there is one.
    backbone
        The backbone by name.
    weights
        The folder of its weights; None for the usual places.
    folder
        The folder of a campaign.
    seconds
        Length of a video.
    decoder
        The decoder by name; None for the backbone's usual one.
    """

    device: str | None
    backbone: str
    weights: Path | None
    folder: Path
    seconds: float
    decoder: str | None


@dataclass(frozen=True)
class Probes:
    """What asks the machine; tests give pretended ones.

    Parameters
    ----------
    machine
        Returns the facts of the machine.
    works, packages
        The kernels that are tried, and the versions of installed packages of attention kernels.
    write, font
        See `check_media`.
    folder
        What is asked about the folder.
    parity
        See `check_parity`.
    """

    machine: Callable[[], Machine] = read_machine
    works: Mapping[str, kernels.Work] = field(default_factory=lambda: kernels.WORKS)
    packages: Callable[[], Mapping[str, str]] = lambda: {
        name: version for name in PACKAGES if (version := installed_version(name)) is not None
    }
    write: Callable[[bool], None] = media.write_video
    font: Callable[[], str] = media.find_font
    folder: FolderProbes = field(default_factory=FolderProbes)
    parity: Callable[[str, torch.device], float] = parity.difference


def examine(patient: Patient, probes: Probes) -> Iterator[Check]:
    """Yield the checks one by one, the slowest last.

    Raises UnknownNameError for a backbone that is not registered, RegistryError for one that cannot be loaded, and
    PresetError for a decoder that it does not have.
    """
    paper = registry.open_backbone(BackboneRequest(name=patient.backbone, device="meta", options=_options(patient)))
    machine = probes.machine()
    yield from check_machine(machine, patient.device)
    name = chosen(machine, patient.device)
    device = torch.device(name)
    yield from check_folder(patient.folder, probes.folder)
    yield from media.check_media(probes.write, probes.font)
    gpu = machine.gpus[device.index or 0] if device.type == "cuda" else None
    strategies = list(registry.found("strategies"))
    yield from check_needs(paper, strategies, patient.seconds, machine.free if gpu is None else gpu.free)
    yield from _weights(patient, paper)
    capability = None if gpu is None else gpu.capability
    yield from kernels.check_kernels(device, probes.works, probes.packages(), capability)
    yield from parity.check_parity(strategies, device, probes.parity)


def _options(patient: Patient) -> dict[str, Any]:
    options = {"weights": patient.weights if patient.backbone in BY_NAME else None, "decoder": patient.decoder}
    return {name: value for name, value in options.items() if value is not None}


def _weights(patient: Patient, paper: Backbone) -> Iterator[Check]:
    if patient.backbone not in BY_NAME:
        yield check_shipped(paper)
        return
    yield check_packages(patient.backbone)
    try:
        files = files_of(patient.backbone, patient.weights, patient.decoder or "wan")
    except HorizonError as error:
        words = f" --decoder {patient.decoder}" if patient.decoder else ""
        advice = f"horizon describe {patient.backbone}{words} says which files it needs"
        yield Check("weights", "files", "broken", why(error), advice)
        return
    yield from check_files(patient.backbone, files, patient.weights)
