"""Benchmark suites, one file each; the registry finds them through entry points."""

# Old names of modules are known as soon as one of these packages is imported.
import harness  # noqa: F401
