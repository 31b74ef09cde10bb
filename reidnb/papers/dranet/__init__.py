"""Dual Reverse Attention Networks (DRANet)."""

from ..paper import Paper
from . import tables
from .network import DRANet

PAPER = Paper(
    name="dranet",
    short="DRANet",
    title=tables.TITLE,
    citation="Liu, Qi, Zhang, Shi: Dual Reverse Attention Networks for Person Re-identification. ICIP 2019",
    link="https://ieeexplore.ieee.org/document/8804419",
    network=DRANet,
    experiment=tables.experiment,
    tables=tables.TABLES,
    main=tables.MAIN,
    beyond=tables.BEYOND,
    claims=tables.CLAIMS,
    readings=tables.READINGS,
    contradictions=tables.CONTRADICTIONS,
    baseline=tables.BASELINE,
)
