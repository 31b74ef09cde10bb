"""Weak Reverse attention with Context Aware Network (WRCANet)."""

from ..paper import Paper
from . import tables
from .network import WRCANet

PAPER = Paper(
    name="wrcanet",
    short="WRCANet",
    title=tables.TITLE,
    citation=(
        "Weak Reverse attention with Context Aware Network for Person Re-identification (authors and "
        "venue unknown to us)"
    ),
    link="",
    network=WRCANet,
    experiment=tables.experiment,
    tables=tables.TABLES,
    main=tables.MAIN,
    claims=tables.CLAIMS,
    readings=tables.READINGS,
    contradictions=tables.CONTRADICTIONS,
    baseline=tables.BASELINE,
)
