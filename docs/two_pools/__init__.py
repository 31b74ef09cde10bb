"""Two pools: an invented paper, the example of ``docs/your-own-paper.md``."""

from ..paper import Paper
from . import tables
from .network import TwoPools

PAPER = Paper(
    name="two_pools",
    short="Two pools",
    title="Average and maximum pooling side by side",
    citation="Nobody: Average and Maximum Pooling Side by Side. Invented as an example",
    link="",
    network=TwoPools,
    experiment=tables.experiment,
    tables=tables.TABLES,
    main="table1",
    claims=tables.CLAIMS,
    baseline={"pools": "average"},
)
