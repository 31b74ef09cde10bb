"""The part-based convolutional baseline (PCB)."""

from ..paper import Paper
from . import tables
from .network import PCB

PAPER = Paper(
    name="pcb",
    short="PCB",
    title=tables.TITLE,
    citation=(
        "Sun, Zheng, Yang, Tian, Wang: Beyond Part Models: Person Retrieval with Refined Part Pooling (and a Strong "
        "Convolutional Baseline). ECCV 2018"
    ),
    link="https://arxiv.org/abs/1711.09349",
    network=PCB,
    experiment=tables.experiment,
    tables=tables.TABLES,
    main=tables.MAIN,
    readings=tables.READINGS,
)
