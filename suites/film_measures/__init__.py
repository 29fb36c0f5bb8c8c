"""Measures of long videos that papers print, as functions of curves, features and pictures: no model, no files.

Each says its source, its definition, its unit and its bounds (docs/measures.md). `declared` has their names, `scored`
makes scores of what viewers saw. They need numpy only, since viewers run in environments of their own.
"""
