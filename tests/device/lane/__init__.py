"""What is measured on a GPU: `nox -s device`."""
