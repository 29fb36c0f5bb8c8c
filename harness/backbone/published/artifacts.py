"""The published files of a backbone: how they are found, checked and obtained. This module never downloads anything.

A file is searched in the folder of weights that was given (`--weights`, or HORIZON_WEIGHTS), under its path in its
repository, a checkpoint also under its bare name, and then in the Hugging Face cache. Sizes and SHA-256 are those of
the pinned revisions. A file whose values are not known is not pinned: the revision that was downloaded last is taken,
the loader checks names and shapes of its tensors, and its own SHA-256 is recorded. A user's own weights go into a
folder whose SHA256SUMS (in the format of coreutils) gives their sums. A checkpoint that is listed there may differ from
the published one and need not be a .pt or .pth file: NAME.safetensors, or NAME.safetensors.index.json with its files
beside it, replaces NAME.pt. Where SHA256SUMS lists files of a model's folder (vae/, ...), these replace the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.backbone.checkpoints.shards import INDEX, read_index
from harness.backbone.published.places import remembered_digest
from harness.caches import forbids_downloads, hub_cache
from harness.errors import CheckpointError

SUMS = "SHA256SUMS"
PUBLISHED = (".pt", ".pth")
"""Suffixes of the published checkpoints."""
FORMS = (*PUBLISHED, ".safetensors", INDEX)
"""Suffixes that a checkpoint's file may have."""
SHOWN = 12
"""Digits of a hash that a message shows."""


@dataclass(frozen=True)
class Artifact:
    """A file of a Hugging Face repository.

    path: inside the repository. revision: commit of the repository. bytes, sha256: expected values. The last three are
    None for a file that is not pinned. also: paths of other files of the repository, of which a folder of weights may
    have one instead.
    """

    repo: str
    revision: str | None
    path: str
    bytes: int | None
    sha256: str | None
    also: tuple[str, ...] = ()

    @property
    def pinned(self) -> bool:
        """Whether the file's values are known."""
        return self.sha256 is not None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def part(self) -> str:
        """Folder in the repository."""
        return self.path.rpartition("/")[0]

    @property
    def alone(self) -> bool:
        """Whether the file is a model by itself, not one of the files of a model's folder."""
        return self.path.endswith(PUBLISHED)


@dataclass(frozen=True)
class Found:
    """An artifact and its place. path: None where it was not found. sha256: the expected one, empty for a file that is
    not pinned until `check` has read it. own: whether its sum came from the user's SHA256SUMS. trouble: why the file at
    `path` cannot be the artifact, judged by its size."""

    artifact: Artifact
    path: Path | None
    sha256: str
    own: bool = False
    trouble: str = ""

    @property
    def bytes(self) -> int | None:
        """Size of the wanted file: the user's own, or the published one; None where it is not known."""
        known = None if self.own else self.artifact.bytes
        return self.path.stat().st_size if known is None and self.path else known


def looked_in(folder: Path | None) -> list[str]:
    """Return the places where files are searched, in their order."""
    return [*([str(folder)] if folder else []), f"the Hugging Face cache ({hub_cache()})"]


def find(artifacts: Sequence[Artifact], folder: Path | None) -> list[Found]:
    """Return where the artifacts are, judged by size alone."""
    sums = _sums(folder)
    found = []
    for part in dict.fromkeys(artifact.part for artifact in artifacts):
        group = [artifact for artifact in artifacts if artifact.part == part]
        listed = [path for path in sums if path.rpartition("/")[0] == part]
        if folder and listed and not group[0].alone:
            found += [_own(folder, path, sums[path]) for path in listed]
        else:
            found += [each for artifact in group for each in _find(artifact, folder, sums)]
    return found


def check(found: Found) -> Found:
    """Compare a file with its hash, and return it with the hash that it has, which for a file that is not pinned is the
    only one. A file that was compared before and has not changed since is not read again.

    Raises CheckpointError that names both hashes and says what to do.
    """
    assert found.path is not None
    actual = remembered_digest(found.path)
    if not found.sha256:
        return replace(found, sha256=actual)
    if actual != found.sha256:
        told = f"{found.path}: half-downloaded or another file: its SHA-256 is {actual[:SHOWN]}..., "
        if found.own:
            raise CheckpointError(
                f"{told}{SUMS} says {found.sha256[:SHOWN]}...; restore that file, or write the sums again: "
                f"sha256sum FILE... > {SUMS}"
            )
        raise CheckpointError(
            f"{told}the published file's is {found.sha256[:SHOWN]}...; get it again with: {command([found.artifact])}; "
            f"weights of your own go into a folder for --weights, with their sums in {SUMS}"
        )
    return found


def gathered(artifacts: Sequence[Artifact], folder: Path | None, name: str) -> dict[str, Found]:
    """Return all artifacts of backbone `name` by path, found and compared with their hashes.

    Raises CheckpointError, in one line, with the missing files and the commands that get them.
    """
    located = find(artifacts, folder)
    missing = [each.artifact for each in located if each.path is None]
    wrong = [f"{each.path}: {each.trouble}" for each in located if each.trouble]
    if missing or wrong:
        parts = [f"{len(missing)} of its {len(located)} files are missing"] * bool(missing) + wrong
        again = [each.artifact for each in located if each.path is None or each.trouble]
        raise CheckpointError(
            f"backbone {name}: {'; '.join(parts)}; looked in {' and in '.join(looked_in(folder))}; get them "
            f"({size_of(again)}) with: {command(again)}{offline()}; horizon describe {name} says more"
        )
    return {each.artifact.path: check(each) for each in located}


def command(artifacts: Sequence[Artifact]) -> str:
    """Return the shell command that downloads artifacts into the Hugging Face cache."""
    by_repo: dict[tuple[str, str | None], list[str]] = {}
    for each in artifacts:
        wanted = each.path if each.alone else f"--include '{each.part}/*'"
        by_repo.setdefault((each.repo, each.revision), []).append(wanted)
    return " && ".join(
        f"hf download {repo} {f'--revision {revision} ' if revision else ''}{' '.join(dict.fromkeys(wanted))}"
        for (repo, revision), wanted in by_repo.items()
    )


def offline() -> str:
    """Return a hint where the environment forbids downloads, else an empty text."""
    name = forbids_downloads()
    return f" ({name} is set: unset it for that, or copy the files from another machine)" if name else ""


def size_of(artifacts: Sequence[Artifact]) -> str:
    """Return the total size of artifacts in words."""
    known = [each.bytes for each in artifacts if each.bytes is not None]
    unknown = len(artifacts) - len(known)
    told = [f"{sum(known) / 1e9:.2f} GB"] * bool(known)
    return " and ".join([*told, *[f"{unknown} of unknown size"] * bool(unknown)])


def identity(found: Mapping[str, Found]) -> str:
    """Return one hash that identifies a set of files."""
    told = json.dumps({path: each.sha256 for path, each in sorted(found.items())})
    return hashlib.sha256(told.encode()).hexdigest()


def _find(artifact: Artifact, folder: Path | None, sums: Mapping[str, str]) -> list[Found]:
    """Return an artifact, and the further files of a checkpoint that has several."""
    name = _there(artifact, folder) if folder else None
    if folder is None or name is None:
        cached = _cached(artifact)
        return [_sized(artifact, cached) if cached else Found(artifact, None, artifact.sha256 or "")]
    path = folder / name
    artifact = _taken(artifact, name)
    if name in sums:
        parts = _parts(folder, name, sums) if name.endswith(INDEX) else []
        return [Found(artifact, path, sums[name], own=True), *parts]
    if artifact.alone and not name.endswith(PUBLISHED):
        raise CheckpointError(f"{path}: {_listed([name], folder)}")
    return [_sized(artifact, path)]


def _there(artifact: Artifact, folder: Path) -> str | None:
    """Return the path of an artifact inside a folder of weights."""
    if not artifact.alone:
        return artifact.path if (folder / artifact.path).is_file() else None
    there = []
    for path in (artifact.path, *artifact.also):
        stem = path.removesuffix(Path(path).suffix)
        for form in FORMS:
            named = [f"{each}{form}" for each in (stem, stem.rpartition("/")[2])]
            there += [name for name in named if (folder / name).is_file()][:1]
    if len(there) > 1:
        raise CheckpointError(
            f"{folder}: holds {' and '.join(there)}, and each can be the checkpoint; leave one of them there"
        )
    return there[0] if there else None


def _taken(artifact: Artifact, name: str) -> Artifact:
    """Return the artifact whose file in a folder is called `name`: the given one, or the one that stands in for it."""
    paths = (artifact.path, *artifact.also)
    return replace(artifact, path=next(path for path in paths if _stem(path) == _stem(name)))


def _stem(path: str) -> str:
    name = path.rpartition("/")[2]
    return next((name.removesuffix(form) for form in reversed(FORMS) if name.endswith(form)), name)


def _parts(folder: Path, index: str, sums: Mapping[str, str]) -> list[Found]:
    """Return the files that an index names; the user's SHA256SUMS must list them, too."""
    files = sorted(set(read_index(folder / index).values()))
    paths = [str(Path(index).with_name(file)) for file in files]
    missing = [path for path in paths if not (folder / path).is_file()]
    if missing:
        raise CheckpointError(f"{folder / index}: {missing[0]} is not there; put all {len(paths)} files beside it")
    unlisted = [path for path in paths if path not in sums]
    if unlisted:
        raise CheckpointError(f"{folder / unlisted[0]}: {_listed(unlisted, folder)}")
    return [_own(folder, path, sums[path]) for path in paths]


def _listed(paths: Sequence[str], folder: Path) -> str:
    """Return the part of a message that says how to add missing sums of the user's own files."""
    more = " ..." if len(paths) > 1 else ""
    return f"not in {SUMS}, which lists weights of your own; in {folder} run: sha256sum {paths[0]}{more} >> {SUMS}"


def _own(folder: Path, path: str, digest: str) -> Found:
    """Return a file that the user's SHA256SUMS lists."""
    there = folder / path
    if not there.is_file():
        raise CheckpointError(f"{folder / SUMS} lists {path}, which is not there; add the file, or remove the line")
    return Found(Artifact(str(folder), "", path, there.stat().st_size, digest), there, digest, own=True)


def _sized(artifact: Artifact, path: Path) -> Found:
    size, wanted = path.stat().st_size, artifact.bytes
    trouble = "" if wanted in {None, size} else f"half-downloaded or another file: {size:,} of {wanted:,} bytes"
    return Found(artifact, path, artifact.sha256 or "", trouble=trouble)


def _sums(folder: Path | None) -> dict[str, str]:
    """Return the sums in a folder's SHA256SUMS, by path."""
    path = folder / SUMS if folder else None
    if path is None or not path.is_file():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        digest, _, name = line.partition(" ")
        if not line.strip():
            continue
        if len(digest) != 64 or not name.strip():
            raise CheckpointError(f"{path}, line {number}: not a sum; write it with: sha256sum FILE... > {SUMS}")
        found[str(Path(name.strip().removeprefix("*")))] = digest.lower()
    return found


def _cached(artifact: Artifact) -> Path | None:
    """Return the file in the Hugging Face cache, in the layout of huggingface_hub: at the pinned revision, or at the
    one that was downloaded last where none is pinned."""
    repo = hub_cache() / f"models--{artifact.repo.replace('/', '--')}"
    revision = artifact.revision
    if revision is None:
        try:
            revision = (repo / "refs" / "main").read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return None
    path = repo / "snapshots" / revision / artifact.path
    return path if path.is_file() else None
