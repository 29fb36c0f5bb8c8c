"""What the pages tell people to run is what the tests run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
    assert done.stdout.splitlines()[-1] == "57 torch.Size([1, 3, 16, 6, 6])"


def test_ci_runs_the_command_of_the_readme() -> None:
    assert TEST_COMMAND in blocks("README.md", "bash")[0]
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
        assert f"| `{name}` |" in readme
        assert f"[{name}]({name}.md)" in index
        page = (ROOT / f"docs/strategies/{name}.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (.+?) \| [^|]+ \|$", page, re.MULTILINE)
        on_page = {knob: (default, allowed.replace("\\|", "|")) for knob, default, allowed in rows}
        knobs = describe_knobs(strategy_class(name)).items()
        assert on_page == {knob: (spelled(about["default"]), about["allowed"]) for knob, about in knobs}
        assert "▢▢▢" in page or name == "full"
        assert "Source: " in page


def test_the_shell_of_the_page_puts_prompts_beside_the_words_of_vbench(tmp_path: Path) -> None:
    from suites.prompts import Prompt, Scene, from_file

    (code,) = [block for block in blocks("docs/reproduce.md", "bash") if "extended() {" in block]
    (tmp_path / "all_dimension.txt").write_text("a cup\na fox\n", encoding="utf-8")
    (tmp_path / "all_dimension_extended.txt").write_text('A white "cup"; steam\nIt\'s a fox | snow\n', encoding="utf-8")
    (tmp_path / "python").symlink_to(sys.executable)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["bash", "-euc", code], cwd=tmp_path, env=path, check=True)
    for name, frames in (("5s", 21), ("30s", 120)):
        assert from_file(tmp_path / f"extended-{name}.jsonl").prompts == (
            Prompt(f"extended-{name}-1", (Scene('A white "cup"; steam'),), frames=frames, vbench="a cup"),
            Prompt(f"extended-{name}-2", (Scene("It's a fox | snow"),), frames=frames, vbench="a fox"),
        )
