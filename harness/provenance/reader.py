"""Reads a module without its prose: what decides its digest, and what it imports."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

DIGITS = 16


@cache
def read_module(path: Path, name: str, owners: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    """Digest of a module without its prose, and the modules that it imports. owners: classes whose knobs do not
    count."""
    source = path.read_bytes()
    if path.suffix != ".py":
        return hashlib.sha256(source).hexdigest()[:DIGITS], ()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        # It cannot be imported either; whoever tries gets the message.
        return hashlib.sha256(source).hexdigest()[:DIGITS], ()
    reader = Reader(name, path.name == "__init__.py", owners)
    reader.node(tree)
    text = "\x1f".join(reader.words)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGITS], tuple(
        dict.fromkeys(reader.imports)
    )


IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores", "returns"})
"""Fields of syntax trees that say nothing about what is computed."""


class Reader:
    """Writes a syntax tree down without its prose, the same for every version of Python that reads it, and collects
    the imports in it."""

    def __init__(self, name: str, package: bool, owners: frozenset[str]) -> None:
        self.package = name if package else name.rpartition(".")[0]
        self.owners = owners
        self.words: list[str] = []
        self.imports: list[str] = []
        self.classes: list[str] = []

    def node(self, node: ast.AST) -> None:
        """One node and all below it."""
        if isinstance(node, ast.Import):
            self.imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            self._import_from(node)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            # What an error says decides no number.
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
            # Fields that are empty differ from one version of Python to another.
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
        """Whether a statement is a docstring, a knob of a strategy, or how a suite is shown, which a report asks for
        when it is read."""
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
        # A name may be a module of the package, or something in it.
        self.imports += [base, *(f"{base}.{alias.name}" for alias in node.names)]


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))
