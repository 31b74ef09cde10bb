"""Attention driven person re-identification."""

from ..paper import Paper
from . import readings, tables
from .network import AttentionDriven

PAPER = Paper(
    name="attention_driven",
    short="Attention-driven network",
    title=tables.TITLE,
    citation=("Yang, Yan, Lu, Jia, Xie, Gao: Attention driven person re-identification. Pattern Recognition 86, 2019"),
    link="https://doi.org/10.1016/j.patcog.2018.08.015",
    network=AttentionDriven,
    experiment=tables.experiment,
    tables=tables.TABLES,
    main=tables.MAIN,
    claims=tables.CLAIMS,
    readings=readings.READINGS,
    contradictions=readings.CONTRADICTIONS,
    baseline=tables.BASELINE,
)
