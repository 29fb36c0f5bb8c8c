"""Measures of long videos that papers print, as functions of curves, features and pictures: no model, no files.

The docstring of each states its source, definition, unit and bounds (docs/measures.md). `declared` has their names,
`scored` makes scores from viewers' samples. They need numpy only, since viewers run in environments of their own.
"""
