"""The identity embedding (IDE): a ResNet-50 that is trained as a classifier of identities."""

from ..paper import Paper
from . import tables
from .network import IDE

PAPER = Paper(
    name="ide",
    short="IDE",
    title=tables.TITLE,
    citation="Zheng, Yang, Hauptmann: Person Re-identification: Past, Present and Future. arXiv 2016",
    link="https://arxiv.org/abs/1610.02984",
    network=IDE,
    experiment=tables.experiment,
    tables=tables.TABLES,
    main=tables.MAIN,
    readings=tables.READINGS,
)
