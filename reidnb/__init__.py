"""A reproducible study, in Jupyter notebooks, of four person re-identification papers."""

__version__ = "0.1.0"


def extract(paths, model):
    """The descriptors (N, D) of images, by a finished run or a weights file: ``reidnb.search.extract``."""
    from .search import extract  # imports PyTorch, which a look at the version does not need

    return extract(paths, model)
