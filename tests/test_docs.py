"""What the pages tell people to run is what the tests run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from tests.benchmarks import front_film

ROOT = Path(__file__).parents[1]
PAGES = [Path("README.md"), Path("CONTRIBUTING.md"), *(path.relative_to(ROOT) for path in ROOT.glob("docs/**/*.md"))]
TEST_COMMAND = "pip install nox && nox -s tests"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_strategies_on_the_page_are_those_that_are_installed() -> None:
    example = ROOT / "tests/plugin/example"
    scored = ROOT / "tests/plugin/example_scored"
    files = [example / "every_other.py", scored / "key_norm.py", scored / "attention_mass.py"]
    assert blocks("docs/own-strategy.md", "python") == [path.read_text(encoding="utf-8") for path in files]
    assert all(len(path.read_text(encoding="utf-8").splitlines()) <= 25 for path in files[1:])
    (entry,) = blocks("docs/own-strategy.md", "toml")
    assert entry in (example / "pyproject.toml").read_text(encoding="utf-8")


def test_the_invariants_on_the_page_are_those_that_are_run() -> None:
    from harness.verify.run import CHECKS

    page = (ROOT / "docs/own-strategy.md").read_text(encoding="utf-8")
    assert [name for name in re.findall(r"^\| ([^|`]+?) \|", page, re.MULTILINE) if name in CHECKS] == list(CHECKS)


def test_python_in_the_readme_runs() -> None:
    (code,) = blocks("README.md", "python")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines()[-1] == "57 torch.Size([1, 3, 16, 8, 8])"


def test_ci_runs_the_command_of_the_readme() -> None:
    assert any(TEST_COMMAND in block for block in blocks("README.md", "bash"))
    assert (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()[-1] == TEST_COMMAND


def test_every_strategy_has_a_page_with_its_knobs() -> None:
    from harness.memory.knobs import describe_knobs, spelled
    from harness.registry import found, strategy_class

    readme, index = (
        (ROOT / "README.md").read_text(encoding="utf-8"),
        (ROOT / "docs/strategies/README.md").read_text(encoding="utf-8"),
    )
    for name, point in found("strategies").items():
        if not point.value.startswith("strategies."):
            continue
        (row,) = re.findall(rf"^\| `{name}` \| \[.*", readme, re.MULTILINE)
        assert f"({strategy_class(name).paper})" in row
        assert f"[{name}]({name}.md)" in index
        page = (ROOT / f"docs/strategies/{name}.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (.+?) \| [^|]+ \|$", page, re.MULTILINE)
        on_page = {knob: (default, allowed.replace("\\|", "|")) for knob, default, allowed in rows}
        knobs = describe_knobs(strategy_class(name)).items()
        assert on_page == {knob: (spelled(about["default"]), about["allowed"]) for knob, about in knobs}
        assert "▢▢▢" in page or name == "full"
        assert "Source: " in page


def test_the_shell_of_the_page_puts_prompts_beside_the_words_of_vbench(tmp_path: Path) -> None:
    from suites.prompts import Prompt, WrittenScene, from_file

    (code,) = [block for block in blocks("docs/reproduce.md", "bash") if "extended() {" in block]
    (tmp_path / "all_dimension.txt").write_text("a cup\na fox\n", encoding="utf-8")
    (tmp_path / "all_dimension_extended.txt").write_text('A white "cup"; steam\nIt\'s a fox | snow\n', encoding="utf-8")
    (tmp_path / "python").symlink_to(sys.executable)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["bash", "-euc", code], cwd=tmp_path, env=path, check=True)
    for name, frames in (("5s", 21), ("30s", 120)):
        assert from_file(tmp_path / f"extended-{name}.jsonl").prompts == (
            Prompt(f"extended-{name}-1", (WrittenScene('A white "cup"; steam'),), frames=frames, vbench="a cup"),
            Prompt(f"extended-{name}-2", (WrittenScene("It's a fox | snow"),), frames=frames, vbench="a fox"),
        )


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        address, _, anchor = "".join(link).partition("#")
        if address.startswith("https://"):
            continue
        target = (ROOT / page).parent / address if address else ROOT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, link


def test_nox_sessions_on_the_pages_are_there() -> None:
    text = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = {name.replace("_", "-") for name in re.findall(r"^def (\w+)\(session", text, re.MULTILINE)}
    for page in PAGES:
        named = set(re.findall(r"nox -s \"?([\w-]+)", (ROOT / page).read_text(encoding="utf-8")))
        assert named <= sessions, page


def test_the_moving_picture_is_drawn_by_its_command_and_cuts_no_name(tmp_path: Path) -> None:
    names = ["full", "attention_sink.window=13,sink=4"]
    front_film.draw(tmp_path / "small.png", names, frames=9, scale=2)
    with Image.open(tmp_path / "small.png") as picture:
        assert picture.n_frames == 9
        assert picture.info["loop"] == 0
        label = np.asarray(picture.convert("RGB"))[: front_film.LINE]
    ground = np.array(ImageColor.getrgb(front_film.GROUND))
    written = (label != ground).any((0, 2)).nonzero()[0]
    assert written.min() >= front_film.GAP // 2
    assert written.max() < label.shape[1] - front_film.GAP // 2


def test_the_moving_picture_of_the_readme_is_there() -> None:
    (shown,) = re.findall(r"<img [^>]*docs/pictures/four.png[^>]*>", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert all(name in shown for name in front_film.MEMORIES)
    assert front_film.PICTURE.stat().st_size < 1_500_000
    with Image.open(front_film.PICTURE) as picture:
        assert picture.n_frames == front_film.FRAMES
