"""`python -m harness.cli` is `horizon`."""

from harness.cli import main

main()
