"""Benchmarks of the package."""
