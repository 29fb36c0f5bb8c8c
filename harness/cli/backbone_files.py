"""Output of `horizon describe` about the files of a published backbone."""

from __future__ import annotations

from pathlib import Path

from harness.backbone.published.artifacts import SHOWN, Found, command, looked_in, offline, size_of
from harness.backbone.published.places import weights_folder
from harness.cli.console.terminal import console, line, lines, table


def tell_files(files: list[Found], weights: Path | None) -> None:
    """Print which files a backbone needs, which are present, and how to get the missing ones."""
    sheet = table("file", "bytes", "SHA-256", "found", title="files")
    for each in files:
        state = each.trouble or (str(each.path) if each.path else "missing")
        sheet.add_row(
            each.artifact.path,
            "not known" if each.bytes is None else f"{each.bytes:,}",
            each.sha256[:SHOWN] or "not pinned",
            line(f"{state}{' (yours)' * each.own}", "red" if each.trouble or not each.path else "green"),
        )
    console.print()
    console.print(sheet)
    for repo, revision in dict.fromkeys((each.artifact.repo, each.artifact.revision) for each in files if not each.own):
        console.print(f"{repo} at {revision or 'any revision: not pinned'}", style="dim")
    console.print(f"looked in {' and in '.join(looked_in(weights_folder(weights)))}", style="dim")
    for each in files:
        if not each.sha256:
            others = f" (in a folder of weights also {', '.join(each.artifact.also)})" if each.artifact.also else ""
            said = "names and shapes are checked when it is loaded, and its own SHA-256 is recorded"
            console.print(line(f"{each.artifact.path}{others} is not pinned: {said}", "dim"), soft_wrap=True)
    wanted = [each.artifact for each in files if each.trouble or not each.path]
    if wanted:
        console.print(lines(f"\nGet the {len(wanted)} that are missing ({size_of(wanted)}) with{offline()}:\n"))
        console.print(lines(command(wanted).replace(" && ", " &&\n")), soft_wrap=True)
    else:
        console.print(lines("\nAll there; their hashes are compared when the backbone is loaded."))
