"""The papers, a folder each: network, tables, figures, analysis, and the numbers that it prints."""

from . import attention_driven, dranet, hybrid_attention, wrcanet
from .paper import Paper

PAPERS: dict[str, Paper] = {
    module.PAPER.name: module.PAPER for module in (wrcanet, dranet, hybrid_attention, attention_driven)
}
"""Every paper by name: the one list to which a new paper is added."""


def find_paper(name: str) -> Paper:
    """The paper of a name. Raises ValueError for an unknown one."""
    if name not in PAPERS:
        raise ValueError(f"unknown paper {name!r}: known are {', '.join(PAPERS)}")
    return PAPERS[name]
