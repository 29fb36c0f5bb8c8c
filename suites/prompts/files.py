"""Readers of prompt files: .txt, .csv, .jsonl and .json."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from harness.errors import PromptError, did_you_mean, shown
from harness.files import in_utf8, parse_json, read_bytes
from harness.limits import LARGEST_SEED, MOST_FRAMES
from harness.memory import Boundary
from harness.rollout.script import check_text, is_script, parse_script
from suites.prompts.prompt import Prompt, PromptSet, WrittenScene

KINDS = ("prompt", "script", "prompts")
"""Kinds of a record: one prompt, a script as one text, or a list of prompts."""


KEYS = {
    "prompt": ("prompt", "id", "seed", "frames", "vbench"),
    "script": ("script", "id", "seed", "frames"),
    "prompts": ("prompts", "id", "seed", "frames", "switch_frame_indices", "boundaries"),
}
"""Keys of each kind of record; the columns of a CSV file are those of a prompt."""


REFUSED = {
    "negative_prompt": "the models of this benchmark are distilled and are sampled without guidance",
}
"""Keys of other tools that are refused here, with the reason."""


_WHOLE = re.compile(r"\s*[0-9]{1,18}\s*")


_LENGTH = re.compile(r"\[\s*(\d+(?:\.\d+)?\s*[sf])\s*[#@]?\s*\]\s*$")


def from_file(path: Path) -> PromptSet:
    """Return the prompts of a file in UTF-8: .txt, .csv, .jsonl or .json.

    A line of a .txt file and a JSON string are one prompt, unless a scene in them ends with a mark, such as [10s]: such
    a text is a script. A record is {"prompt": ...} (one prompt, read literally), {"script": ...} (bars join its scenes,
    with or without marks) or {"prompts": [...]}, with an optional "id". A list may have "switch_frame_indices" (latent
    frames; a list, or numbers in a string) and "boundaries" (how each scene after the first is entered), a prompt
    "vbench" (the prompt of VBench that it stands for), and every record "seed" (of its rollout) and "frames" (latent
    frames of the whole). Other keys are refused. A .csv file has a column `prompt` and any other keys of a prompt. A
    prompt without an id is named after the file and the line (.json: the position in its list). Empty lines are
    skipped, and so are duplicates of earlier prompts, since they would give the same video. Raises PromptError, which
    names file and line.
    """
    content = content_of(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PromptError(f"cannot read {path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    readers = {".txt": _from_text, ".csv": _from_csv, ".jsonl": _from_lines, ".json": _from_json}
    if path.suffix not in readers:
        raise PromptError(f"cannot read prompts from {path}; needed: a file that ends with {', '.join(readers)}")
    places: dict[str, str] = {}
    prompts: dict[Prompt, Prompt] = {}
    for where, prompt in readers[path.suffix](path, text):
        if prompt.id in places:
            raise PromptError(f"{where}: its id {prompt.id!r} is that of {places[prompt.id]} too; change one of them")
        for scene in prompt.scenes:
            _check_says(scene.text, where)
        places[prompt.id] = where.removeprefix(f"{path}, ")
        prompts.setdefault(replace(prompt, id=""), prompt)
    if not prompts:
        raise PromptError(f"{path}: no prompt in it")
    return PromptSet(in_utf8(path.stem), tuple(prompts.values()), hashlib.sha256(content).hexdigest())


def content_of(path: Path) -> bytes:
    """Return the content of a file. Raises PromptError for one that cannot be read."""
    try:
        return read_bytes(path)
    except OSError as error:
        raise PromptError(f"cannot read {path}: {error.strerror or error}") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    # str.splitlines would also split inside of prompts, at U+2028 for instance, and shift later line numbers.
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if line.strip():
            yield number, line.strip()


def _from_text(path: Path, text: str) -> Iterator[tuple[str, Prompt]]:
    for number, line in _lines(text):
        where = f"{path}, line {number}"
        yield where, _from_record(line, where, f"{in_utf8(path.stem)}-{number}")


def _from_csv(path: Path, text: str) -> Iterator[tuple[str, Prompt]]:
    # The module's default limit of 131,072 characters a cell does not apply to prompts.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    number = 1
    while True:
        where = f"{path}, line {number}"
        try:
            cells = next(lines, None)
        except csv.Error as error:
            raise PromptError(f"{where}: not CSV ({error}); put a prompt with commas or quotes into quotes") from None
        if cells is None:
            return
        if not columns and cells:
            columns = _columns(cells, where)
        elif cells:
            if len(cells) != len(columns):
                raise PromptError(
                    f"{where}: {len(cells)} cells for {len(columns)} columns; put a prompt with commas into quotes"
                )
            said = {name: cell for name, cell in zip(columns, cells, strict=True) if cell.strip() or name == "prompt"}
            whole = {name: int(said[name]) for name in ("seed", "frames") if _WHOLE.fullmatch(said.get(name, ""))}
            yield where, _from_record({**said, **whole}, where, f"{in_utf8(path.stem)}-{number}")
        # A cell in quotes may go over several lines.
        number = lines.line_num + 1


def _columns(cells: Sequence[str], where: str) -> list[str]:
    """Return the names of a CSV file's columns. Raises PromptError for unknown names."""
    names, allowed = [cell.strip() for cell in cells], KEYS["prompt"]
    if "prompt" not in names:
        raise PromptError(
            f"{where}: no column is named 'prompt'; name the columns in the first line, with commas between them; "
            f"allowed: {', '.join(allowed)}; given: {shown(','.join(names))}"
        )
    for name in names:
        if name not in allowed:
            hint = did_you_mean(name, allowed)
            raise PromptError(
                f"{where}: unknown column {name!r}{hint}; allowed: {', '.join(allowed)}; remove the others"
            )
        if names.count(name) > 1:
            raise PromptError(f"{where}: two columns are named {name!r}; remove one of them")
    return names


def _from_lines(path: Path, text: str) -> Iterator[tuple[str, Prompt]]:
    for number, line in _lines(text):
        where = f"{path}, line {number}"
        yield where, _from_record(_json(line, where), where, f"{in_utf8(path.stem)}-{number}")


def _from_json(path: Path, text: str) -> Iterator[tuple[str, Prompt]]:
    records = _json(text, str(path))
    for number, record in enumerate(records if isinstance(records, list) else [records], 1):
        where = f"{path}, record {number}"
        yield where, _from_record(record, where, f"{in_utf8(path.stem)}-{number}")


def _json(text: str, where: str) -> Any:
    try:
        return parse_json(text, once=True)
    except ValueError as error:
        raise PromptError(f"{where}: not JSON ({error})") from None


def _from_record(record: Any, where: str, usual_id: str) -> Prompt:
    if isinstance(record, str):
        return _from_line(record, where, usual_id)
    kinds = [kind for kind in KINDS if kind in record] if isinstance(record, Mapping) else []
    if len(kinds) != 1:
        raise PromptError(
            f'{where}: a record needs one of "prompt": "...", "script": "...", "prompts": ["...", "..."]; or write the '
            f"prompt alone, in quotes{_near(record)}; given: {shown(record)}"
        )
    kind, name = kinds[0], record.get("id", usual_id)
    if not isinstance(name, str) or not name.strip():
        raise PromptError(f'{where}: "id" must be a text that is not empty; given: {shown(name)}')
    _check_keys(record, kind, where)
    texts = record[kind] if kind == "prompts" else [record[kind]]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise PromptError(f'{where}: "{kind}" must be {"texts" if kind == "prompts" else "a text"} that say something')
    vbench = record.get("vbench")
    if vbench is not None and not (isinstance(vbench, str) and vbench.strip()):
        raise PromptError(f'{where}: "vbench" must be the prompt of VBench that it stands for; given: {shown(vbench)}')
    for text in (name, vbench or "", *texts):
        _check_text(text, where)
    frames = _whole(record, "frames", "latent frames", 1, MOST_FRAMES, where)
    seed = _whole(record, "seed", "the seed of its rollout", 0, LARGEST_SEED, where)
    made = Prompt(name, (), (), frames, seed, (vbench or "").strip())
    if kind == "script":
        return replace(made, scenes=_scenes(record[kind], where))
    if kind == "prompt":
        return replace(made, scenes=(WrittenScene(record[kind].strip()),))
    boundaries = record.get("boundaries", ["smooth"] * (len(texts) - 1))
    if not isinstance(boundaries, list) or len(boundaries) != len(texts) - 1 or not _known(boundaries):
        raise PromptError(
            f'{where}: "boundaries" must be {len(texts) - 1} of {", ".join(get_args(Boundary))}; given: '
            f"{shown(boundaries)}"
        )
    scenes = tuple(
        WrittenScene(text.strip(), entered) for text, entered in zip(texts, ["smooth", *boundaries], strict=True)
    )
    return replace(made, scenes=scenes, starts=_starts(record.get("switch_frame_indices"), len(texts), where))


def _near(record: Any) -> str:
    """Return a hint at the key that was probably meant."""
    names = {name.lower(): name for name in record} if isinstance(record, Mapping) else {}
    meant = next((kind for kind in KINDS if kind in names), "prompt" if "text" in names else "")
    return f" (did you mean {meant!r}?)" if meant and meant not in record else ""


def _from_line(text: str, where: str, name: str) -> Prompt:
    """Return the prompt of a plain text: a script where it has a mark, else one prompt, read literally."""
    _check_text(text, where)
    if not text.strip():
        raise PromptError(f"{where}: the prompt is empty; write at least a word, or leave it out")
    return Prompt(name, _scenes(text, where) if is_script(text) else (WrittenScene(text.strip()),))


def _whole(record: Mapping[str, Any], key: str, what: str, least: int, most: int, where: str) -> int | None:
    value = record.get(key)
    if value is not None and (type(value) is not int or not least <= value <= most):
        raise PromptError(
            f'{where}: "{key}" must be {what}, a whole number from {least} to {most:,}; given: {shown(value)}'
        )
    return value


def _check_keys(record: Mapping[str, Any], kind: str, where: str) -> None:
    """Raise PromptError for an unknown key, since ignoring it would silently change the request."""
    for key in record:
        if key in REFUSED:
            raise PromptError(f"{where}: {key!r} has no meaning here: {REFUSED[key]}; leave it out")
        if key not in KEYS[kind]:
            hint = did_you_mean(key, KEYS[kind])
            allowed = ", ".join(KEYS[kind][1:])
            raise PromptError(f"{where}: unknown key {key!r}{hint}; allowed beside {kind!r}: {allowed}")


def _check_text(text: str, where: str) -> None:
    try:
        check_text(text)
    except PromptError as error:
        raise PromptError(f"{where}: {error}") from None


def _check_says(text: str, where: str) -> None:
    """Raise PromptError for a prompt that is empty after HTML entities are decoded, as encoders do."""
    if all(unicodedata.category(letter)[0] in "CZ" for letter in html.unescape(html.unescape(text))):
        raise PromptError(f"{where}: nothing is left of the prompt {shown(text)} once it is cleaned; write a word")


def _known(boundaries: Iterable[Any]) -> bool:
    return all(boundary in get_args(Boundary) for boundary in boundaries)


def _starts(given: Any, scenes: int, where: str) -> tuple[int, ...]:
    if given is None:
        return ()
    parts = given.replace(",", " ").split() if isinstance(given, str) else given
    whole = isinstance(parts, list) and all(
        (type(part) is int and part <= MOST_FRAMES) or (isinstance(part, str) and re.fullmatch("[0-9]{1,9}", part))
        for part in parts
    )
    starts = [int(part) for part in parts] if whole else []
    if len(starts) != scenes - 1 or [0, *starts] != sorted({0, *starts}):
        raise PromptError(
            f'{where}: "switch_frame_indices" must be {scenes - 1} whole numbers, each above the last; given: '
            f"{shown(given)}"
        )
    return tuple(starts)


def _scenes(text: str, where: str) -> tuple[WrittenScene, ...]:
    """Return the scenes of a script in one text, with lengths as written; they become latent frames later."""
    try:
        cues = parse_script(text, rate=1, chunk=1).cues
    except PromptError as error:
        raise PromptError(f"{where}: {error}") from None
    lengths = [_LENGTH.search(scene) for scene in text.split("|")]
    return tuple(
        WrittenScene(cue.text, cue.boundary, length[1] if length else "")
        for cue, length in zip(cues, lengths, strict=True)
    )
