"""The benchmark harness: code that is independent of any particular strategy or suite."""

from harness.moved import install

__version__ = "0.1.0"

install()
