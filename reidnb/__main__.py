"""The few shell verbs that notebooks cannot give: ``python -m reidnb VERB``."""

import argparse
import shutil
import sys

import pandas as pd

from .data import catalog, check
from .runs import all_runs, results_dir, summary


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when it went well, 1 with a sentence on stderr when not."""
    parser = argparse.ArgumentParser(prog="python -m reidnb", description=__doc__.split(":")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    data = verbs.add_parser("data", help="look at the data sets on disk").add_subparsers(dest="look", required=True)
    one = data.add_parser("check", help="read every image of a data set and compare its numbers with the published")
    one.add_argument("dataset", help=", ".join(sorted(catalog.DATA_SETS)))
    one.add_argument("--root", help="the folder that holds the data sets")
    data.add_parser("list", help="which data sets lie under a folder").add_argument("--root", required=True)
    verbs.add_parser("report", help="write results/index.html from the tables and figures in results/")
    verbs.add_parser("clean", help="remove the cache of made and decoded images; runs are kept")
    chosen = parser.parse_args(arguments)
    try:
        failed = {"data": _data, "report": _report, "clean": _clean}[chosen.verb](chosen)
    except (OSError, ValueError) as error:
        print(f"reidnb: {error}", file=sys.stderr)
        return 1
    return int(bool(failed))


def _data(chosen: argparse.Namespace) -> bool:
    """Print what was asked; whether anything is wrong with it."""
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


def _report(chosen: argparse.Namespace) -> None:
    from .figures import report  # matplotlib and jinja2 are not on every machine that trains
    from .papers.tables import PAPERS, ledger

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


if __name__ == "__main__":
    sys.exit(main())
