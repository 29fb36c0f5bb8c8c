"""Engines: what runs the cells of a campaign, and where."""
