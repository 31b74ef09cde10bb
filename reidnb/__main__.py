"""The few shell verbs that notebooks cannot give: ``python -m reidnb VERB``."""

import argparse
import json
import os
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

import pandas as pd

from .data import catalog


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when it went well, 1 with a sentence on stderr when not."""
    parser = argparse.ArgumentParser(prog="python -m reidnb", description=__doc__.split(":")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    data = verbs.add_parser("data", help="look at the data sets on disk").add_subparsers(dest="look", required=True)
    one = data.add_parser("check", help="read every image of a data set and compare its numbers with the published")
    one.add_argument("dataset", help=", ".join(sorted(catalog.DATA_SETS)))
    one.add_argument("--root", help="the folder that holds the data sets")
    data.add_parser("list", help="which data sets lie under a folder").add_argument("--root", required=True)
    notebook = verbs.add_parser("notebook", help="execute a notebook by papermill, on a GPU of its own if asked")
    notebook.add_argument("path", type=Path)
    notebook.add_argument("output", type=Path, help="the executed copy")
    notebook.add_argument("parameters", type=json.loads, help="a JSON object of the notebook's parameters")
    notebook.add_argument("--gpu", type=int, default=0, help="1: wait for a GPU that no other job holds")
    report = verbs.add_parser("report", help="write results/index.html from the tables and figures in results/")
    report.add_argument("--study", type=json.loads, help="settings as in the Snakefile: its tables are written first")
    verbs.add_parser("clean", help="remove the cache of made and decoded images; runs are kept")
    chosen = parser.parse_args(arguments)
    try:
        failed = VERBS[chosen.verb](chosen)
    except (OSError, ValueError) as error:
        print(f"reidnb: {error}", file=sys.stderr)
        return 1
    return int(bool(failed))


def _data(chosen: argparse.Namespace) -> bool:
    """Print what was asked; whether anything is wrong with it."""
    from .data import check

    if chosen.look == "list":
        found = check.present(chosen.root)
        print(_lines(found) if len(found) else f"no known data set under {chosen.root}")
        return False
    place = catalog.locate(chosen.dataset, chosen.root)
    print(f"{chosen.dataset} in {place}")
    found = check.check(chosen.dataset, chosen.root)
    print(_lines(found.assign(ok=found.ok.map({True: "", False: "<- wrong"}))))
    if notice := catalog.data_set(chosen.dataset).notice:
        print(f"note: {notice}")
    return not found.ok.all()


def _lines(frame: pd.DataFrame) -> str:
    """A table as aligned text, words left."""
    text = frame.astype(str)
    widths = [max(map(len, (name, *text[name]))) for name in text]
    rows = [text.columns, *text.itertuples(index=False)]
    return "\n".join("  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _notebook(chosen: argparse.Namespace) -> None:
    from papermill import execute_notebook  # not on every machine that trains

    from .devices import gpus, one_gpu

    with one_gpu(gpus()) if chosen.gpu else nullcontext() as name:
        if name is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = name
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        execute_notebook(
            str(chosen.path),
            str(chosen.output),
            chosen.parameters,
            cwd=str(chosen.path.parent),
            progress_bar=False,
            stdout_file=sys.stdout,
        )


def _report(chosen: argparse.Namespace) -> None:
    from .experiments import all_runs, results_dir, summary
    from .figures import report  # matplotlib and jinja2 are not on every machine that trains
    from .papers.tables import PAPERS, ledger
    from .study import finished_tables, settings

    if chosen.study:
        finished_tables(settings(chosen.study))

    results = results_dir()
    results.mkdir(parents=True, exist_ok=True)
    finished = all_runs(results)
    if finished:
        summary(finished).to_csv(results / "runs.csv", index=False)
    for paper in PAPERS:
        ledger(paper).to_csv(results / f"readings-{paper}.csv", index=False)
    print(report.build(results))


def _clean(chosen: argparse.Namespace) -> None:
    # Only what this package made there, in case the cache is a folder that others use too.
    for name in ("pixels", "cuhk03", *catalog.STREETS):
        folder = catalog.cache_dir() / name
        if folder.exists():
            shutil.rmtree(folder)
            print(f"removed {folder}")


VERBS = {"data": _data, "notebook": _notebook, "report": _report, "clean": _clean}


if __name__ == "__main__":
    sys.exit(main())
