"""The table of two pools, its recipe and its claim (``network`` has the modules)."""

from ...training.experiment import Experiment
from ...training.recipe import Recipe, Shuffle
from ..paper import Claim, Row, Table, above

RECIPE = Recipe(size=(256, 128), epochs=60, sampler=Shuffle(64))


def experiment(options: dict, dataset: str, seed: int = 0) -> Experiment:
    """The experiment of a row as the paper states it."""
    return Experiment("two_pools", options, RECIPE, dataset, seed=seed)


ROWS = (Row("Average", {"pools": "average"}), Row("Maximum", {"pools": "maximum"}), Row("Both"))
TABLES = (Table("table1", "Average, maximum or both", ROWS, ("market1501",)),)
CLAIMS = (Claim("Both pools are better than either", "section 4", "table1", above("Both", "Average", "Maximum")),)
