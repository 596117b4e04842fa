"""Measurements against other tools; see docs/benchmarks.md for what came out."""
