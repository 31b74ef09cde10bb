"""The papers, one folder each: network, tables, figures, analyses, and the published numbers."""

from . import attention_driven, bag_of_tricks, dranet, hybrid_attention, ide, pcb, wrcanet
from .paper import Paper

PAPERS: dict[str, Paper] = {
    module.PAPER.name: module.PAPER for module in (wrcanet, dranet, hybrid_attention, attention_driven)
}
"""The papers of the study by name. A new paper is registered here."""

COMPARISONS: dict[str, Paper] = {module.PAPER.name: module.PAPER for module in (ide, bag_of_tricks, pcb)}
"""Papers whose networks others compare themselves with: trained and reported only where they are named."""

KNOWN: dict[str, Paper] = PAPERS | COMPARISONS
"""Every paper by name."""


def find_paper(name: str) -> Paper:
    """Return the paper with this name. Raises ValueError if there is none."""
    if name not in KNOWN:
        raise ValueError(f"unknown paper {name!r}: known are {', '.join(KNOWN)}")
    return KNOWN[name]
