"""The machine: everything that does not know which strategy or suite it serves."""

__version__ = "0.1.0"
