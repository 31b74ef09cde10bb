"""What the notebooks show of a paper's networks, and what they keep of a figure."""

from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.display import Markdown

from reidnb.figures import heatmaps
from reidnb.papers import PAPERS
from reidnb.papers.experiments import one_experiment
from reidnb.report import show

PERSON = np.full((16, 8, 3), 90, np.uint8)


def plot():
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    return figure


def matrix():
    figure, axes = plt.subplots()
    axes.imshow(np.eye(3))
    return figure


FIGURES = {
    "people": (lambda: heatmaps.grid([[PERSON]]), True),
    "maps of people": (lambda: heatmaps.grid([[PERSON[..., 0]]]), True),
    "curves": (plot, False),
    "a matrix": (matrix, False),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("dataset", ["market1501", "folder-street", "street->market1501", "market1501_part"])
def test_pictures_of_a_real_data_set_are_withheld(name, dataset):
    make, has_pictures = FIGURES[name]
    assert isinstance(show.displayed(make(), dataset), Markdown) == has_pictures
    assert not isinstance(show.displayed(make(), dataset, show_people=True), Markdown)


@pytest.mark.parametrize("dataset", ["street", "street->street-other"])
def test_the_street_is_always_shown(dataset):
    plt.close("all")  # those of other tests
    figure = FIGURES["people"][0]()
    assert show.displayed(figure, dataset) is figure and not plt.get_fignums()


def test_a_parameter_that_is_an_expression_is_named(monkeypatch):
    cells = ["", "seeds = 1\ndata_root = os.environ['DATA']"]
    monkeypatch.setattr(show, "get_ipython", lambda: SimpleNamespace(user_ns={"In": cells}))
    with pytest.raises(ValueError, match=r"data_root = os.environ\['DATA'\]: a parameter takes a plain value"):
        show.check_parameters()


def test_a_figure_that_is_not_to_be_kept_is_shown_only(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDNB_RESULTS", str(tmp_path))
    figure = plot()
    assert show.publish(figure, "wrcanet-cmc", "street", "CMC", "Ours.", keep=False) is figure
    assert not list(tmp_path.rglob("*.webp"))
    show.publish(figure, "wrcanet-cmc", "street", "CMC", "Ours.")
    assert [path.name for path in tmp_path.rglob("*.webp")] == ["wrcanet-cmc-street.webp"]


def test_weak_reverse_attention_costs_a_second_pass_and_no_parameter():
    cost = show.cost(PAPERS["wrcanet"], "table2")
    alone, attended = cost.loc["ResNet-50"], cost.loc["ResNet-50+WRA"]
    assert alone["10⁶ parameters"] == attended["10⁶ parameters"] == round((23_508_032 + 2049 * 751 + 2 * 2048) / 1e6, 1)
    assert alone["10⁹ multiply-adds"] == 9.1 and attended["10⁹ multiply-adds"] == 18.2


def test_dranets_reverse_masks_cost_nothing_at_test_time_but_f_3x3_does():
    cost = show.cost(PAPERS["dranet"], "table4")
    # ResNet-50, and for each part f_3x3 with its batch normalisation, f_1x1, and with RCAM W0 and W1
    per_part = 2048 * 1024 * 9 + 2 * 1024 + 1025 * 751
    expected = [23_508_032 + 3 * (per_part + rcam * 2 * 2048 * 128) for rcam in (0, 1, 0, 1)]
    assert list(cost["10⁶ parameters"]) == [round(n / 1e6, 1) for n in expected]
    assert cost["10⁶ parameters"]["Baseline"] == 82.4  # of which f_3x3 has 3 * 2048 * 1024 * 9, 56.6 million
    assert set(cost["10⁹ multiply-adds"]) == {9.7}


def test_experiment_and_provenance_are_read_line_by_line():
    text = show.experiment(one_experiment(PAPERS["wrcanet"], {"strength": 0.25}, {}, "street-small", "smoke")).to_html()
    for cell in ("strength 0.25", "recipe: epochs", "street-small", "smoke"):
        assert f">{cell}<" in text
    provenance = {"data": [], "weights": {"description": "", "name": "street"}, "packages": {"torch": "2.11"}}
    text = show.provenance(SimpleNamespace(provenance=provenance, folder=Path("runs/one"))).to_html()
    for cell in ("–", "name street", "torch 2.11", "one"):
        assert f">{cell}<" in text
