"""Published files: where they are looked for, how they are recognised, and what is said where they are not."""

import hashlib
import os

import pytest

from harness.backbone.published import artifacts
from harness.backbone.published.artifacts import Artifact, check, command, find, gathered, offline, size_of
from harness.backbone.published.backbones import BY_NAME, LONG_LIVE, SELF_FORCING
from harness.backbone.published.places import weights_folder
from harness.errors import CheckpointError

pytestmark = pytest.mark.usefixtures("own_cache")
CONTENT = b"weights of a model"
CHECKPOINT = Artifact("lab/model", "a" * 40, "checkpoints/model.pt", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
LOOSE = Artifact("lab/loose", None, "chunks/model.pt", None, None, also=("chunks/long.pt",))
"""A file that is not pinned, and another one of its repository that may stand in for it."""
CONFIG = Artifact("lab/vae", "b" * 40, "vae/config.json", 2, hashlib.sha256(b"{}").hexdigest())


def hub(tmp_path, artifact, content):
    """A file as huggingface_hub lays it into its cache: a link to a blob."""
    root = tmp_path / "hub" / f"models--{artifact.repo.replace('/', '--')}"
    blob, link = root / "blobs" / artifact.sha256, root / "snapshots" / artifact.revision / artifact.path
    blob.parent.mkdir(parents=True, exist_ok=True)
    link.parent.mkdir(parents=True)
    blob.write_bytes(content)
    link.symlink_to(blob)
    return link


@pytest.mark.parametrize("place", ["checkpoints/model.pt", "model.pt"])
def test_a_folder_of_weights_goes_before_the_hub_s_cache(tmp_path, place):
    cached = hub(tmp_path, CHECKPOINT, CONTENT)
    assert find([CHECKPOINT], None)[0].path == cached
    own = tmp_path / "own" / place
    own.parent.mkdir(parents=True)
    own.write_bytes(CONTENT)
    assert check(find([CHECKPOINT], tmp_path / "own")[0]).path == own
    assert find([CONFIG], tmp_path / "own")[0].path is None


def test_what_huggingface_hub_finds_in_its_cache_is_found(tmp_path):
    library = pytest.importorskip("huggingface_hub", reason="needs the extra models")
    for artifact, content in ((CHECKPOINT, CONTENT), (CONFIG, b"{}")):
        hub(tmp_path, artifact, content)
        there = library.try_to_load_from_cache(
            artifact.repo, artifact.path, cache_dir=tmp_path / "hub", revision=artifact.revision
        )
        assert str(find([artifact], None)[0].path) == there


def test_files_of_folders_are_not_taken_by_their_bare_names(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert find([CONFIG], tmp_path)[0].path is None


def test_a_half_downloaded_file_is_named_by_its_size_before_anything_is_read(tmp_path):
    (tmp_path / "model.pt").write_bytes(CONTENT[:5])
    with pytest.raises(CheckpointError, match=r"model\.pt: half-downloaded or another file: 5 of 18 bytes") as told:
        gathered([CHECKPOINT], tmp_path, "tiny")
    assert "hf download lab/model --revision " + "a" * 40 + " checkpoints/model.pt" in str(told.value)


def test_a_wrong_file_of_the_right_size_is_named_by_its_hash(tmp_path):
    (tmp_path / "model.pt").write_bytes(CONTENT[::-1])
    actual = hashlib.sha256(CONTENT[::-1]).hexdigest()
    with pytest.raises(
        CheckpointError, match=f"SHA-256 is {actual[:12]}.*published file's is {CHECKPOINT.sha256[:12]}"
    ):
        gathered([CHECKPOINT], tmp_path, "tiny")


def test_missing_files_are_listed_with_one_command_a_repository(tmp_path):
    with pytest.raises(CheckpointError) as told:
        gathered([CHECKPOINT, CONFIG], tmp_path, "tiny")
    text = str(told.value)
    assert text.startswith("backbone tiny: 2 of its 2 files are missing; looked in ")
    assert str(tmp_path) in text
    assert str(tmp_path / "hub") in text
    assert f"--revision {'b' * 40} --include 'vae/*'" in text
    assert "\n" not in text


def test_weights_of_one_s_own_are_those_whose_sums_the_folder_lists(tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae/other.bin").write_bytes(b"mine")
    (tmp_path / "model.pt").write_bytes(b"mine, too")
    digest = hashlib.sha256(b"mine").hexdigest()
    (tmp_path / "SHA256SUMS").write_text(
        f"{digest}  vae/other.bin\n{hashlib.sha256(b'mine, too').hexdigest()} *model.pt\n\n", encoding="utf-8"
    )
    found = gathered([CHECKPOINT, CONFIG], tmp_path, "tiny")
    assert {path: each.own for path, each in found.items()} == {"checkpoints/model.pt": True, "vae/other.bin": True}
    assert found["vae/other.bin"].sha256 == digest
    (tmp_path / "vae/other.bin").write_bytes(b"else")
    with pytest.raises(CheckpointError, match=f"SHA256SUMS says {digest[:12]}"):
        gathered([CONFIG], tmp_path, "tiny")
    (tmp_path / "vae/other.bin").unlink()
    with pytest.raises(CheckpointError, match=r"lists vae/other\.bin, which is not there"):
        gathered([CONFIG], tmp_path, "tiny")


def test_sums_that_are_none_say_which_line(tmp_path):
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  vae/x\nnonsense\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"SHA256SUMS, line 2: not a sum; write it with: sha256sum"):
        find([CHECKPOINT], tmp_path)


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path, monkeypatch):
    (tmp_path / "model.pt").write_bytes(CONTENT)
    found = find([CHECKPOINT], tmp_path)[0]
    check(found)
    digest = hashlib.file_digest
    monkeypatch.setattr(artifacts.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    check(found)
    monkeypatch.setattr(artifacts.hashlib, "file_digest", digest)
    (tmp_path / "model.pt").write_bytes(CONTENT[::-1])
    with pytest.raises(CheckpointError, match="half-downloaded or another file"):
        check(found)


def test_offline_machines_are_told_so(monkeypatch):
    assert offline() == ""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in offline()


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="no such folder of weights"):
        weights_folder(tmp_path / "nowhere")
    (tmp_path / os.fsdecode(b"w\xff")).mkdir()
    with pytest.raises(CheckpointError, match=r"its name is not UTF-8 as this locale reads it.*LC_ALL=C.UTF-8"):
        weights_folder(tmp_path / os.fsdecode(b"w\xff"))
    monkeypatch.setenv("HORIZON_WEIGHTS", str(tmp_path))
    assert weights_folder(None) == tmp_path


def test_a_file_that_is_not_pinned_has_the_hash_that_it_has(tmp_path):
    (tmp_path / "model.pt").write_bytes(CONTENT)
    (found,) = find([LOOSE], tmp_path)
    assert (found.sha256, found.bytes, found.trouble, found.artifact.pinned) == ("", len(CONTENT), "", False)
    assert gathered([LOOSE], tmp_path, "tiny")["chunks/model.pt"].sha256 == CHECKPOINT.sha256
    # Sums of the user's own are expected values again.
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  model.pt\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="SHA256SUMS says 000000000000"):
        gathered([LOOSE], tmp_path, "tiny")


def test_a_file_that_is_not_pinned_is_the_one_that_was_downloaded_last(tmp_path):
    library = pytest.importorskip("huggingface_hub", reason="needs the extra models")
    assert find([LOOSE], None)[0].path is None
    root = tmp_path / "hub/models--lab--loose"
    for revision in ("c" * 40, "d" * 40):
        path = root / "snapshots" / revision / "chunks/model.pt"
        path.parent.mkdir(parents=True)
        path.write_bytes(revision.encode())
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs/main").write_text(revision, encoding="utf-8")
        assert find([LOOSE], None)[0].path == path
        there = library.try_to_load_from_cache(LOOSE.repo, LOOSE.path, cache_dir=tmp_path / "hub")
        assert there == str(path)


def test_another_file_of_the_repository_stands_in_for_one_that_a_folder_lacks(tmp_path):
    (tmp_path / "long.pt").write_bytes(b"of long videos")
    (found,) = gathered([LOOSE], tmp_path, "tiny").values()
    assert (found.artifact.path, found.path) == ("chunks/long.pt", tmp_path / "long.pt")
    (tmp_path / "chunks").mkdir()
    (tmp_path / "chunks/model.pt").write_bytes(CONTENT)
    with pytest.raises(CheckpointError, match=r"holds chunks/model\.pt and long\.pt, and each can be the checkpoint"):
        gathered([LOOSE], tmp_path, "tiny")


def test_a_file_that_is_not_pinned_is_asked_for_without_revision_and_size(tmp_path):
    assert command([LOOSE]) == "hf download lab/loose chunks/model.pt"
    assert size_of([LOOSE]) == "1 of unknown size"
    assert size_of([LOOSE, CHECKPOINT]) == "0.00 GB and 1 of unknown size"
    with pytest.raises(CheckpointError, match=r"1 of its 1 files are missing.*\(1 of unknown size\) with: hf download"):
        gathered([LOOSE], tmp_path, "tiny")


@pytest.mark.parametrize("published", BY_NAME.values(), ids=lambda published: published.name)
def test_every_published_file_is_pinned_or_known_not_to_be(published):
    assert [each.path for each in published.files() if not each.pinned] == {
        "causal-forcing": ["chunkwise/causal_forcing.pt"],
        "sgf": ["chunkwise/ar/model.pt"],
    }.get(published.name, [])
    for each in published.files():
        if not each.pinned:
            assert each.revision is each.bytes is None
            continue
        assert len(each.revision) == 40
        assert len(each.sha256) == 64
        assert int(each.revision, 16)
        assert int(each.sha256, 16)
        assert each.bytes > 0
    assert len({each.sha256 for each in published.files()}) == len(published.files())
    assert command(published.files()).count("hf download") == 2


def test_longlive_is_its_base_with_an_adapter():
    assert LONG_LIVE.adapter is not None
    assert SELF_FORCING.adapter is None
    # 1,418,996,800 parameters in float32, and 300 pairs of matrices of rank 256.
    assert LONG_LIVE.checkpoint.bytes - 4 * 1_418_996_800 < 400_000
    pairs = 30 * 256 * (8 * (1536 + 1536) + 2 * (1536 + 8960))
    assert LONG_LIVE.adapter.bytes == pytest.approx(8 * pairs, rel=0.001) or LONG_LIVE.adapter.bytes == pytest.approx(
        4 * pairs, rel=0.001
    )
