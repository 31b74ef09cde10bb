"""Ranking a gallery and scoring the ranking."""
