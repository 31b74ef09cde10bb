"""Ranking a gallery and measuring it."""
