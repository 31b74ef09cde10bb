"""A bag of tricks and a strong baseline: ResNet-50 with the batch normalisation neck (BNNeck)."""

from ..paper import Paper
from . import tables
from .network import StrongBaseline

PAPER = Paper(
    name="bag_of_tricks",
    short="Bag of tricks",
    title=tables.TITLE,
    citation=(
        "Luo, Gu, Liao, Lai, Jiang: Bag of Tricks and a Strong Baseline for Deep Person Re-identification. "
        "CVPR Workshops 2019"
    ),
    link="https://arxiv.org/abs/1903.07071",
    network=StrongBaseline,
    experiment=tables.experiment,
    tables=tables.TABLES,
    main=tables.MAIN,
    claims=tables.CLAIMS,
    readings=tables.READINGS,
    baseline=tables.BASELINE,
)
