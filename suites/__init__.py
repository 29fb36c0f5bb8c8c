"""Benchmark suites, one file each; the registry finds them through entry points."""
