"""What the notebooks show: a run's numbers, its ranking lists and its attention, from the run alone."""

import ast
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython import get_ipython
from IPython.display import Code, Markdown
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from torch import Tensor

from .. import parameters
from ..benchmarks.inference import size
from ..data import catalog
from ..data.augment import normalise
from ..data.samples import distinct_queries, read_images
from ..figures import heatmaps, ranking
from ..files import results_dir
from ..papers.paper import Paper
from ..results import Run
from ..runs import load_model
from ..training.experiment import Experiment
from ..training.profiles import check_profile
from . import page as report
from . import tables

WITHHELD = "*Pictures of real people are not kept in this notebook; with the parameter `show_people=True` they are.*"
"""Shown in place of a figure with pictures of people."""


def not_shown(reason: str) -> Markdown:
    """One sentence in place of a figure or table that the chosen rows do not give: why there is none."""
    return Markdown(f"*Not shown: {reason}.*")


def check_parameters() -> None:
    """Check the notebook's parameters and convert them (``parameters.checked``): "3" to 3, paths to absolute ones.

    Raises ValueError for a parameter that the notebook does not have, of which papermill itself only warns, for a value
    that cannot be converted, and for an unknown profile: a long run would reveal them at its end.
    """
    shell = get_ipython()
    if shell is None:
        return
    cells = shell.user_ns["In"]
    injected = [number for number, cell in enumerate(cells) if cell.startswith("# Parameters")]
    defaults = _assigned(cells[injected[0] - 1 if injected else 1])
    for number in injected:
        parameters.check_names("this notebook", _assigned(cells[number]), defaults)
    converted = parameters.checked({name: shell.user_ns[name] for name in defaults}, defaults)
    if "profile" in converted:
        check_profile(converted["profile"])
    shell.user_ns |= converted


def _assigned(cell: str) -> dict[str, object]:
    """The names that a cell of plain assignments sets, with their values. Raises ValueError for any other value."""
    assigned = {}
    for node in ast.parse(cell).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            try:
                assigned[name] = ast.literal_eval(node.value)
            except ValueError as error:
                raise ValueError(f"{name} = {ast.unparse(node.value)}: a parameter takes a plain value") from error
    return assigned


def source(definition: object) -> Code:
    """The code that implements what the text beside it says."""
    return Code(inspect.getsource(definition), language="python")


def shapes(tensors: Mapping[str, Tensor]) -> pd.DataFrame:
    """Each tensor's name and shape, for one image."""
    return pd.DataFrame({"shape": [" × ".join(map(str, t.shape[1:])) for t in tensors.values()]}, index=list(tensors))


def cost(paper: Paper, table: str) -> pd.DataFrame:
    """Parameters in millions of each row's network as the paper states it, with classifiers of Market-1501's 751
    training identities, and multiply-adds in 10^9 of one image at test time (``benchmarks.inference.size``)."""
    with torch.device("meta"):  # only shapes are computed
        sizes = {row.name: size(paper.experiment(row.options, "market1501", 0), 751) for row in paper.table(table).rows}
    columns = {"parameters": "10⁶ parameters", "multiply_adds": "10⁹ multiply-adds"}
    return pd.DataFrame.from_dict(sizes, orient="index").rename(columns=columns).round(1)


def metrics(run: Run) -> pd.DataFrame:
    """A run's metrics in percent, in one row; a dash for what the data set's protocol does not have."""
    names = tables.METRICS | {"map_trapezoid": "mAP (trapezoid)", "minp": "mINP", "left_out": "left out"}
    columns = ["map", "map_trapezoid", "minp", "rank1", "rank5", "rank10", "rank20", "queries", "left_out"]
    table = pd.DataFrame([run.metrics], index=[run.experiment.dataset])[columns].round(1)
    return table.astype(object).where(table.notna(), "–").rename(columns=names)


def experiment(one: Experiment) -> Styler:
    """What decides a result, a line for each field of the experiment and of its recipe."""
    entries = {field.name: getattr(one, field.name) for field in fields(one) if field.name != "recipe"}
    entries |= {f"recipe: {field.name}": getattr(one.recipe, field.name) for field in fields(one.recipe)}
    return _entries(entries)


def provenance(run: Run) -> Styler:
    """Where, when and with what a run was made."""
    return _entries(run.provenance | {"folder": run.folder.name})


def _entries(values: Mapping[str, object]) -> Styler:
    """A line for each name and its value; of a mapping its names and values."""
    texts = [
        ", ".join(f"{key} {one}" for key, one in value.items() if one) if isinstance(value, dict) else str(value)
        for value in values.values()
    ]
    frame = pd.DataFrame({"name": list(values), "value": [text if text not in ("", "[]") else "–" for text in texts]})
    return tables.prose(frame)


def publish(
    figure: Figure, name: str, dataset: str, title: str, caption: str, show_people: bool = False, *, keep: bool = True
) -> Figure | Markdown:
    """Keep a figure of the synthetic street in ``results/figures`` for the report, and return it as ``displayed``.

    A figure of some rows of a table, or of a changed recipe, is not to ``keep``: it would replace the full table's.
    """
    if keep and dataset in catalog.STREETS:
        report.save_figure(figure, results_dir(), f"{name}-{dataset}", title=title, caption=caption)
    return displayed(figure, dataset, show_people)


def displayed(figure: Figure, dataset: str, show_people: bool = False) -> Figure | Markdown:
    """What a notebook shows of a figure, and so what a saved copy of it holds.

    Curves and other plots are shown in any case. A figure with pictures of a real data set ('a->b': of either) is shown
    only if ``show_people``; otherwise a sentence takes its place.
    """
    plt.close(figure)  # the notebook draws what a cell returns; an open figure it would draw again
    if show_people or not _has_pictures(figure) or set(dataset.split("->")) <= set(catalog.STREETS):
        return figure
    return Markdown(WITHHELD)


def _has_pictures(figure: Figure) -> bool:
    """Whether a figure has a picture: colours pixel by pixel, or a map without axes, which may show somebody."""
    images = [(axes, image) for axes in figure.axes for image in axes.get_images()]
    return any(np.ndim(image.get_array()) == 3 or not axes.axison for axes, image in images)


def people(data: catalog.ReidData, count: int = 10) -> Figure:
    """A sample sheet: one training identity (of the gallery, in a set to test on) a column, one camera a row."""
    table = data.train if len(data.train) else data.gallery[data.gallery.pid > catalog.DISTRACTOR]
    chosen = sorted(table.pid.unique())[:count]
    cameras = sorted(table.camid.unique())
    rows = []
    for camera in cameras:
        first = table.assign(row=range(len(table)))[table.camid == camera].drop_duplicates("pid").set_index("pid").row
        rows.append(list(read_images(table, first.reindex(chosen, fill_value=-1).to_numpy())))
    return heatmaps.grid(rows, [f"camera {c}" for c in cameras], [f"id {p}" for p in chosen])


def rankings(
    runs: Mapping[str, Run],
    data: catalog.ReidData,
    count: int = 4,
    top: int = 10,
    queries: Sequence[int] | None = None,
    titles: Sequence[str] | None = None,
) -> Figure:
    """Ranking lists of a few queries: a row a query for one run, a row a run and query for several.

    ``queries`` are rows of the data set's table, ``count`` of different identities by default; with several runs,
    ``titles`` are headings of the queries.
    """
    queries = distinct_queries(data, count) if queries is None else np.asarray(queries)
    lists = {}
    for name, run in runs.items():
        order, matches = run.rankings["top"][queries, :top], run.rankings["right"][queries, :top]
        pictures = np.stack([read_images(data.gallery, row) for row in order])
        lists[name] = (pictures, np.ma.array(matches, mask=order < 0))
    images = read_images(data.query, queries)
    if len(lists) == 1:
        return ranking.ranking_list(images, *next(iter(lists.values())))
    return ranking.compare_rankings(images, lists, titles=titles)


def attention(
    runs: Mapping[str, Run], data: catalog.ReidData, images: np.ndarray, columns: Sequence[str] | None = None
) -> Figure:
    """Grad-cam of each run at its last stage below the images, and the map f where the last run has one.

    ``columns`` are titles of the images (n, H, W, 3) uint8.
    """
    from ..figures.cam import cam

    batch = normalise(torch.from_numpy(images))
    rows, titles = [list(images)], ["image"]
    for name, run in runs.items():
        model = load_model(run, data)
        maps = cam(model, model.last_stage, batch)
        rows.append([heatmaps.overlay(i, m) for i, m in zip(images, maps, strict=True)])
        titles.append(name)
        with torch.inference_mode():
            f = model(batch).maps.get("f")
    if f is not None:
        rows.append([heatmaps.overlay(i, m) for i, m in zip(images, f[:, 0].numpy(), strict=True)])
        titles.append("f")
    return heatmaps.grid(rows, titles, columns)
