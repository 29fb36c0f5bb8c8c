"""Clocks, memory and device readings, and counters of operations and bytes."""
