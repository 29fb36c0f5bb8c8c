"""The gate: is a run worse than its baseline, by enough to matter and beyond what chance does?"""
