"""The few shell verbs that notebooks cannot give: ``python -m reidnb VERB``."""

import argparse
import shutil
import sys

from .data import catalog
from .runs import all_runs, results_dir, summary


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when it went well, 1 with a sentence on stderr when not."""
    parser = argparse.ArgumentParser(prog="python -m reidnb", description=__doc__.split(":")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    check = verbs.add_parser("check", help="read a data set and count what it holds")
    check.add_argument("dataset", help=", ".join(sorted(catalog.DATA_SETS)))
    check.add_argument("--root", help="the folder that holds the data sets")
    verbs.add_parser("report", help="write results/index.html from the tables and figures in results/")
    verbs.add_parser("clean", help="remove the cache of made and decoded images; runs are kept")
    chosen = parser.parse_args(arguments)
    try:
        {"check": _check, "report": _report, "clean": _clean}[chosen.verb](chosen)
    except (OSError, ValueError) as error:
        print(f"reidnb: {error}", file=sys.stderr)
        return 1
    return 0


def _check(chosen: argparse.Namespace) -> None:
    data = catalog.load(chosen.dataset, chosen.root)
    print(f"{data.name} in {data.root}")
    for split in ("train", "query", "gallery"):
        table = getattr(data, split)
        people = table.pid[table.pid > catalog.DISTRACTOR].nunique()
        print(f"  {split:8} {len(table):6} images  {people:5} identities  {table.camid.nunique():2} cameras")


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
    for name in ("pixels", *catalog.STREETS):
        folder = catalog.cache_dir() / name
        if folder.exists():
            shutil.rmtree(folder)
            print(f"removed {folder}")


if __name__ == "__main__":
    sys.exit(main())
