"""Hybrid-attention guided network with multiple resolution features."""

from ..paper import Paper
from . import readings, tables
from .network import HybridAttention

PAPER = Paper(
    name="hybrid_attention",
    short="Hybrid attention",
    title=tables.TITLE,
    citation=(
        "Zhang, Yang, Zheng, Wang, Wu, Chen: Hybrid-attention guided network with multiple resolution "
        "features for person re-identification. Information Sciences 578, 2021"
    ),
    link="https://www.sciencedirect.com/science/article/pii/S0020025521007489",
    network=HybridAttention,
    experiment=tables.experiment,
    tables=tables.TABLES,
    main=tables.MAIN,
    claims=tables.CLAIMS,
    readings=readings.READINGS,
    contradictions=tables.CONTRADICTIONS,
    baseline=tables.BASELINE,
    complete_readings=readings.COMPLETE_READINGS,
)
