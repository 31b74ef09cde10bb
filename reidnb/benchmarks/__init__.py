"""Benchmarks of evaluation and training on this machine."""
