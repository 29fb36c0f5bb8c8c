"""The code and the machine that made a number, and whether that code has changed since."""

from harness.provenance.code import (
    COST,
    LOOKED_AT_LATER,
    OWN,
    PLUMBING,
    ROLLOUT,
    CellCode,
    Code,
    changes,
    code_of,
    is_checkout,
    source_file,
)
from harness.provenance.reader import DIGITS, IGNORED

__all__ = [
    "COST",
    "DIGITS",
    "IGNORED",
    "LOOKED_AT_LATER",
    "OWN",
    "PLUMBING",
    "ROLLOUT",
    "CellCode",
    "Code",
    "changes",
    "code_of",
    "is_checkout",
    "source_file",
]
