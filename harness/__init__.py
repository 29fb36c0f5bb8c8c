"""The machine: everything that does not know which strategy or suite it serves."""

from harness.moved import install

__version__ = "0.1.0"

install()
