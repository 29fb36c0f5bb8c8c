"""The invariants that every memory owes its users, run on any strategy."""

from harness.verify.run import CHECKS, Finding, verify

__all__ = ["CHECKS", "Finding", "verify"]
