"""The horizons at which suites report."""

HORIZONS = (21, 120, 240, 960, 1920, 14_400, 345_600)
"""Latent frames of 5 s, 30 s, 60 s, 4 min, 8 min, 1 h and 24 h, at four latent frames a second."""
