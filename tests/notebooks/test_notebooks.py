"""Every notebook, executed by papermill from another working directory, and how it is committed."""

import json
from pathlib import Path

import papermill
import pytest

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
        ({"table": "table7"}, "wrcanet has no table 'table7'"),
        ({"tabel": "table2"}, "no parameter 'tabel': this notebook has data_root, dataset, profile"),
        ({"dataset": "market1501", "data_root": "/nowhere"}, "data_root /nowhere is not a folder"),
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
