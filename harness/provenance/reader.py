"""The reader of a module without its prose: its digest and its imports."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

DIGITS = 16


@cache
def read_module(path: Path, name: str, owners: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    """Return the digest of a module without its prose, and the modules that it imports.

    Parameters
    ----------
    path
        Its file.
    name
        Its full name, which relative imports need.
    owners
        Classes in it whose annotated fields are knobs, which the digest excludes.
    """
    source = path.read_bytes()
    if path.suffix != ".py":
        return hashlib.sha256(source).hexdigest()[:DIGITS], ()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        # It cannot be imported either; the import raises the error.
        return hashlib.sha256(source).hexdigest()[:DIGITS], ()
    reader = Reader(name, path.name == "__init__.py", owners)
    reader.node(tree)
    text = "\x1f".join(reader.words)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGITS], tuple(
        dict.fromkeys(reader.imports)
    )


IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores", "returns"})
"""Fields of syntax trees that do not affect the computation."""


class Reader:
    """A visitor that writes a syntax tree as words, without its prose, and collects its imports.

    The words are the same for every version of Python that parses the module.
    """

    def __init__(self, name: str, package: bool, owners: frozenset[str]) -> None:
        self.package = name if package else name.rpartition(".")[0]
        self.owners = owners
        self.words: list[str] = []
        self.imports: list[str] = []
        self.classes: list[str] = []

    def node(self, node: ast.AST) -> None:
        """Add a node and all nodes below it."""
        if isinstance(node, ast.Import):
            self.imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            self._import_from(node)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            # The message of an error affects no number.
            node = ast.Raise(exc=node.exc.func, cause=None)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            for each in node.orelse:
                self.node(each)
            return
        self.words.append(type(node).__name__)
        if isinstance(node, ast.ClassDef):
            self.classes.append(node.name)
        for field in node._fields:
            value = getattr(node, field, None)
            # Versions of Python differ in their empty fields.
            if (
                value is None
                or value == []
                or field in IGNORED
                or (field == "annotation" and isinstance(node, ast.arg))
            ):
                continue
            self.words.append(field)
            self._value(value)
        if isinstance(node, ast.ClassDef):
            self.classes.pop()

    def _value(self, value: object) -> None:
        if isinstance(value, ast.AST):
            self.node(value)
        elif isinstance(value, list):
            self.words.append("[")
            for each in value:
                if not self._is_prose(each):
                    self._value(each)
            self.words.append("]")
        else:
            self.words.append(repr(value))

    def _is_prose(self, node: object) -> bool:
        """Return whether a statement is a docstring, a knob of a strategy, or a suite's `display`.

        `display` is excluded because reports call it when a finished cell is read.
        """
        if isinstance(node, ast.FunctionDef) and node.name == "display" and self.classes:
            return True
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return True
        return (
            isinstance(node, ast.AnnAssign)
            and ".".join(self.classes) in self.owners
            and not ast.unparse(node.annotation).startswith("ClassVar")
        )

    def _import_from(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parts = self.package.split(".")
            base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
        # An imported name may be a module of the package.
        self.imports += [base, *(f"{base}.{alias.name}" for alias in node.names)]


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))
