"""A reproducible study, in Jupyter notebooks, of four person re-identification papers."""

__version__ = "0.1.0"
