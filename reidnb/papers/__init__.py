"""The papers, one folder each: network, tables, figures, analyses, and the published numbers."""

from . import attention_driven, dranet, hybrid_attention, wrcanet
from .paper import Paper

PAPERS: dict[str, Paper] = {
    module.PAPER.name: module.PAPER for module in (wrcanet, dranet, hybrid_attention, attention_driven)
}
"""Every paper by name. A new paper is registered here."""


def find_paper(name: str) -> Paper:
    """Return the paper with this name. Raises ValueError if there is none."""
    if name not in PAPERS:
        raise ValueError(f"unknown paper {name!r}: known are {', '.join(PAPERS)}")
    return PAPERS[name]
