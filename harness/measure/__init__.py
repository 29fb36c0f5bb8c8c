"""Clocks, memory and device readings, and operations counted on paper."""
