"""The tables of a report as text: their columns, quality, cost."""
