"""Every notebook, executed by papermill from another working directory, and how it is committed."""

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from miniatures import SPLITS, market_like
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from reidnb.files import results_dir
from reidnb.report import show

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
SMOKE = {"profile": "smoke", "dataset": "street-small"}


@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_runs_from_any_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    papermill.execute_notebook(str(path), str(tmp_path / "out.ipynb"), parameters=SMOKE, progress_bar=False)
    cells = json.loads((tmp_path / "out.ipynb").read_text())["cells"]
    pictures = [o for c in cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    assert pictures, "a notebook shows at least one figure"


WITH_PEOPLE = [path for path in NOTEBOOKS if path.stem not in ("performance", "attention")]  # that is for the street
FULL = {"wrcanet": "ResNet-50+WRA+MS+GP", "dranet": ["Baseline+RCAM+RSAM"], "hybrid_attention": "+ CAM"}
FULL |= {"attention_driven": '["Intra+inter"]'}
"""The row of each paper's main table that every figure of its notebook can be drawn of."""
CARDS = ("explore", "search")
"""Notebooks that show grey cards in people's place, not a sentence."""


@pytest.fixture(scope="module")
def real(tmp_path_factory, street_small) -> Path:
    """A folder that could be anybody's: the package cannot know that its people, all magenta, are not real."""
    root = tmp_path_factory.mktemp("data") / "people"
    market_like(root, street_small, ".png")
    joints, random = {}, np.random.default_rng(0)
    for split in SPLITS:
        files = sorted((root / split).iterdir())
        for file in files:
            grey = np.asarray(Image.open(file).convert("L")) // 8
            Image.fromarray(np.stack([255 - grey, grey, 255 - grey], 2)).save(file)
        places = np.stack(
            [random.uniform(4, 28, (len(files), 17)), np.tile(np.linspace(4, 60, 17), (len(files), 1))], 2
        )
        joints[split] = np.concatenate([places, np.ones((len(files), 17, 1))], 2)
        joints[f"{split}_names"] = np.array([file.name for file in files])
    np.savez(root / "joints.npz", **joints)
    return root


def magenta(notebook: Path) -> list[bool]:
    """For each picture that a notebook holds, those of widgets too, whether people are in it."""
    cells = json.loads(notebook.read_text())["cells"]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    assert not any("<img" in "".join(data.get("text/html", "")) for data in outputs)
    assert not any(kind.startswith("image/") and kind != "image/png" for data in outputs for kind in data)
    encoded = [data["image/png"] for data in outputs if "image/png" in data]
    encoded += re.findall(r"data:image/\w+;base64,([A-Za-z0-9+/=]+)", notebook.read_text())
    has_people = []
    for picture in encoded:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")).astype(int)
        red, green, blue = np.moveaxis(pixels, 2, 0)
        has_people.append(bool(((red > 150) & (blue > 150) & (green < 70)).sum() > 20))
    return has_people


@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_PEOPLE, ids=lambda p: p.stem)
def test_real_people_are_in_a_saved_notebook_only_if_asked_for(path, real, tmp_path):
    """Plots and tables are kept in both."""
    parameters = {"profile": "smoke", "dataset": "folder", "data_root": str(real)}
    if path.stem == "search":
        query = next((real / "query").glob("*.png"))
        parameters = SMOKE | {"gallery": str(real / "bounding_box_test"), "query": str(query)}
    if path.stem in FULL:
        parameters |= {"rows": FULL[path.stem]}
    pictures = {}
    for show_people in (False, True) if path.stem in ("data", "start") else (False,):
        papermill.execute_notebook(
            str(path), str(tmp_path / "out.ipynb"), parameters | {"show_people": show_people}, progress_bar=False
        )
        pictures[show_people] = magenta(tmp_path / "out.ipynb")
        withheld = show.WITHHELD in json.dumps(json.loads((tmp_path / "out.ipynb").read_text()))
        assert withheld == (not show_people and path.stem not in CARDS)
    assert not any(pictures[False]) and (pictures[False] or path.stem in ("explore", "use"))  # of widgets or a sentence
    assert any(pictures.get(True, [True])), "without people in it, the data set would prove nothing"
    assert not list(results_dir().glob("figures/*folder*"))


def texts(notebook: Path) -> list[str]:
    """What the cells of an executed notebook show as text or as a table."""
    cells = json.loads(notebook.read_text())["cells"]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return ["".join(data.get(kind, "")) for data in outputs for kind in ("text/markdown", "text/html")]


BASELINE = {
    "dranet": ("none of the chosen rows makes hard examples", "with channel attention"),
    "hybrid_attention": ("fuse the four stages", "no spatial attention", "no channel attention", "no windows of every"),
}
"""Why some figures of a notebook cannot be drawn of the baseline alone, in the two with the most such figures."""


@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.parametrize("name", BASELINE)
def test_a_first_look_at_the_baseline_is_shown_and_not_saved(name, tmp_path):
    (path,) = (path for path in NOTEBOOKS if path.stem == name)
    saved = results_dir() / "tables"
    before = {file: file.stat().st_mtime_ns for file in saved.glob("*")}
    look = {"rows": "Baseline", "recipe": '{"epochs": "1"}'}
    papermill.execute_notebook(str(path), str(tmp_path / "out.ipynb"), SMOKE | look, progress_bar=False)
    shown = texts(tmp_path / "out.ipynb")
    missing = [text for text in shown if "Not shown: " in text]
    assert all(any(reason in text for text in missing) for reason in BASELINE[name])
    assert any("The recipe was changed: epochs=1. " in text and "rows were not trained." in text for text in shown)
    assert {file: file.stat().st_mtime_ns for file in saved.glob("*")} == before


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_is_committed_clean(path):
    cells = json.loads(path.read_text())["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    assert all(not c["outputs"] and c["execution_count"] is None for c in code)
    assert "parameters" in code[0]["metadata"]["tags"]
    prose = sum(len("".join(c["source"])) for c in cells if c["cell_type"] == "markdown")
    assert prose > sum(len("".join(c["source"])) for c in code), "a notebook teaches: more prose than code"
    assert max(len(c["source"]) for c in code[1:]) <= 16, "few lines per cell"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rows": "WRA"}, "table2 has no row 'WRA': its rows are ResNet-50; ResNet-50\\+WRA; "),
        ({"tabel": "table2"}, "this notebook has no parameter 'tabel': it has table, dataset, data_root, profile"),
    ],
)
def test_wrong_parameters_are_one_clear_sentence(tmp_path, wrong, message):
    with pytest.raises(papermill.PapermillExecutionError, match=message):
        papermill.execute_notebook(
            str(next(p for p in NOTEBOOKS if p.stem == "wrcanet")),
            str(tmp_path / "out.ipynb"),
            parameters={**SMOKE, **wrong},
            progress_bar=False,
        )


@pytest.mark.notebook
def test_a_wrong_profile_is_refused_before_data_are_loaded(tmp_path, monkeypatch):
    """A street would be drawn, and its folder made, in an empty cache."""
    monkeypatch.setenv("REIDNB_CACHE", str(tmp_path / "cache"))
    path = next(p for p in NOTEBOOKS if p.stem == "data")
    with pytest.raises(papermill.PapermillExecutionError, match="unknown profile 'fast': known are paper, quick"):
        papermill.execute_notebook(
            str(path), str(tmp_path / "out.ipynb"), SMOKE | {"profile": "fast"}, progress_bar=False
        )
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("given", "expected"), [({}, "3 1 "), ({"seed": "7"}, "7 1 ")])
def test_parameters_are_converted(tmp_path, monkeypatch, given, expected):
    """With and without a cell that papermill injects."""
    monkeypatch.chdir(tmp_path)
    book = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    book.cells = [
        new_code_cell('seed = "3"\nseeds = 1  # trainings\ndata_root = "here"', metadata={"tags": ["parameters"]}),
        new_code_cell("from reidnb.report import show\nshow.check_parameters()"),
        new_code_cell("from pathlib import Path\nPath('written').write_text(f'{seed} {seeds} {data_root}')"),
    ]
    nbformat.write(book, "book.ipynb")
    papermill.execute_notebook("book.ipynb", "out.ipynb", given, progress_bar=False)
    assert (tmp_path / "written").read_text() == f"{expected}{tmp_path / 'here'}"
