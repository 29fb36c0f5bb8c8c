"""Contexts that chunks are trained with: arranged ones, and those of real memories."""
