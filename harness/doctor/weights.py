"""Weights of a backbone: found, and compared with their hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness import registry
from harness.backbone.presets import Backbone
from harness.backbone.published.artifacts import SHOWN, Found, check, command, looked_in, offline, size_of
from harness.backbone.published.places import weights_folder
from harness.backbone.published.text import transformers_version
from harness.doctor.checks import Check
from harness.errors import HorizonError, why
from harness.provenance.environment import weights_hash

GROUP = "weights"
SMALL = 2**28
"""Bytes of a model up to which it is read as a test, where its files are not known by name."""


def check_packages(name: str, version: Callable[[], str] = transformers_version) -> Check:
    """Return the check of the packages that a published backbone needs."""
    try:
        import diffusers

        return Check(GROUP, "packages", "ok", f"transformers {version()}, diffusers {diffusers.__version__}")
    except (HorizonError, ImportError) as error:
        advice = f"{name} needs them: pip install 'horizon-bench[models]'"
        return Check(GROUP, "packages", "broken", " ".join(str(error).split())[:120], advice)


def check_files(name: str, files: Sequence[Found], folder: Path | None) -> Iterator[Check]:
    """Yield the checks of a published backbone's files.

    Parameters
    ----------
    name
        The backbone.
    files
        Its files, as `files_of` finds them.
    folder
        The folder of weights that was given.
    """
    wanted = [each.artifact for each in files if each.path is None or each.trouble]
    there = [each for each in files if each.path is not None and not each.trouble]
    facts = {"missing": [artifact.path for artifact in wanted]}
    places = " and in ".join(looked_in(weights_folder(folder)))
    if wanted:
        found = f"{len(wanted)} of {len(files)} files of {name} are missing; looked in {places}"
        advice = f"get them ({size_of(wanted)}): {command(wanted)}{offline()}"
        yield Check(GROUP, "files", "broken", found, advice, facts)
    else:
        yield Check(GROUP, "files", "ok", f"all {len(files)} files of {name} are there", facts=facts)
    for each in there:
        try:
            digest = check(each).sha256
        except (HorizonError, OSError) as error:
            advice = "the file is not the published one: get it again, or list your own sums in SHA256SUMS"
            yield Check(GROUP, each.artifact.name, "broken", " ".join(str(error).split()), advice)
            continue
        pinned = "as published" if each.artifact.pinned and not each.own else "not pinned"
        yield Check(GROUP, each.artifact.name, "ok", f"SHA-256 {digest[:SHOWN]}..., {pinned}", facts={"sha256": digest})


def check_shipped(backbone: Backbone) -> Check:
    """Return the check of a backbone without published files: it is opened on the CPU if it is small.

    Parameters
    ----------
    backbone
        The backbone on the device "meta".
    """
    size = sum(x.nbytes for x in backbone.model.parameters())
    if size > SMALL:
        return Check(GROUP, "files", "ok", f"{backbone.name} reads no files; its weights are {size / 1e9:.2f} GB")
    try:
        digest = weights_hash(registry.backbone(backbone.name))
    except HorizonError as error:
        advice = "reinstall the package that has this backbone"
        return Check(GROUP, "files", "broken", why(error), advice)
    found = f"{size / 1e6:.1f} MB, read with its package, SHA-256 {digest[:SHOWN]}..."
    return Check(GROUP, "files", "ok", found, facts={"sha256": digest, "bytes": size})
