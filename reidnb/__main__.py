"""The few shell verbs that notebooks cannot give: ``python -m reidnb VERB``."""

import argparse
import json
import os
import shutil
import sys
from contextlib import nullcontext
from dataclasses import fields
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
    one = verbs.add_parser("run", help="train and evaluate one experiment; on several GPUs by accelerate launch")
    one.add_argument(
        "parameters", type=json.loads, help="a JSON object of run.ipynb's parameters, or an experiment.json's"
    )
    part = verbs.add_parser("study", help="train as much of a study as there is time for; a later call goes on")
    part.add_argument("--minutes", type=float, help="stop after the epoch that is over then; no limit if not given")
    part.add_argument("--profile", help="paper, quick, scratch, demo or smoke")
    part.add_argument("--papers", help="names by commas, the most wanted first")
    part.add_argument("--datasets", help="names by commas")
    part.add_argument("--tables", help="names by commas; all of a paper if not given")
    part.add_argument("--seeds", type=int, help="trainings of each row")
    part.add_argument("--root", help="the folder that holds the data sets")
    part.add_argument("--weights", help="imagenet, a local file, or '' (random), in place of the profile's")
    part.add_argument("--keep", default="weights", help="weights, descriptors (float16) or metrics: what runs keep")
    part.add_argument(
        "--step", default="auto", help="how training steps are taken: auto, eager, graph, compiled or compiled-graph"
    )
    part.add_argument("--settings", type=json.loads, help="settings as in the Snakefile, in place of the options above")
    part.add_argument("--only", help="keys of its experiments by commas; all if not given")
    part.add_argument("--to", type=Path, help="also write the table of what is finished to this csv file")
    weights = verbs.add_parser("weights", help="say what a file of initial weights holds, and which networks it fits")
    weights.add_argument("file", help="a .safetensors file or a checkpoint of torch")
    weights.add_argument("--describe", metavar="TEXT", help="what captions call it from now on (results/weights.json)")
    report = verbs.add_parser("report", help="write results/index.html from the tables and figures in results/")
    report.add_argument(
        "--publish", action="store_true", help="then replace the committed tables and figures, in results/reference"
    )
    report.add_argument("--study", type=json.loads, help="settings as in the Snakefile: its tables are written first")
    _add_use(verbs)
    verbs.add_parser("clean", help="remove the cache of images and compiled kernels; runs are kept")
    chosen = parser.parse_args(arguments)
    try:
        failed = VERBS[chosen.verb](chosen)
    except (OSError, ValueError) as error:
        print(f"reidnb: {error}", file=sys.stderr)
        return 1
    return int(bool(failed))


def _add_use(verbs: argparse._SubParsersAction) -> None:
    """The verbs that use a trained network on one's images."""
    model = "a finished run (its folder, or the folder's name in results/runs), or a ResNet's weights file"
    one = verbs.add_parser("extract", help="write the descriptors of a folder of images")
    one.add_argument("images", type=Path, help="a folder, or one image")
    one.add_argument("--model", required=True, help=model)
    one.add_argument("--output", type=Path, required=True, help="a .npz or .parquet file")
    one = verbs.add_parser("search", help="list the images of a gallery that are nearest to a query")
    one.add_argument("query", type=Path, help="an image")
    one.add_argument("gallery", type=Path, help="a folder of images, or a file that extract wrote")
    one.add_argument("--model", required=True, help=model)
    one.add_argument("--top", type=int, default=10, help="length of the list")
    one = verbs.add_parser("export", help="write a run's network as ONNX or TorchScript, and compare the outputs")
    one.add_argument("--model", required=True, help=model)
    one.add_argument("--output", type=Path, required=True, help="an .onnx or .pt file")


def _data(chosen: argparse.Namespace) -> bool:
    """Print what was asked; whether anything is wrong with it."""
    from .data import check

    if chosen.look == "list":
        table = check.present(chosen.root)
        print(_lines(table) if len(table) else f"no known data set under {chosen.root}")
        return False
    place = catalog.locate(chosen.dataset, chosen.root)
    print(f"{catalog.resolve(chosen.dataset, chosen.root)} in {place}")
    table = check.check(chosen.dataset, chosen.root)
    print(_lines(table.assign(ok=table.ok.map({True: "", False: "<- wrong"}))))
    if notice := catalog.data_set(chosen.dataset).notice:
        print(f"note: {notice}")
    return not table.ok.all()


def _lines(frame: pd.DataFrame) -> str:
    """A table as aligned text, words left."""
    text = frame.astype(str)
    widths = [max(map(len, (name, *text[name]))) for name in text]
    rows = [text.columns, *text.itertuples(index=False)]
    return "\n".join("  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _notebook(chosen: argparse.Namespace) -> bool:
    """Execute it; whether a cell failed. Only a whole notebook is kept, as a batch study takes it for done."""
    # Not on every machine that trains.
    from papermill import PapermillExecutionError, execute_notebook

    from .files import check_writable, unfinished
    from .study.devices import gpus, one_gpu

    with one_gpu(gpus()) if chosen.gpu else nullcontext() as name:
        if name is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = name
        check_writable(chosen.output.parent)
        try:
            with unfinished(chosen.output) as place:
                execute_notebook(
                    str(chosen.path),
                    str(place),
                    chosen.parameters,
                    cwd=str(chosen.path.parent),
                    progress_bar=False,
                    stdout_file=sys.stdout,
                )
        except PapermillExecutionError as error:
            print(*error.traceback, sep="\n", file=sys.stderr)
            print(f"reidnb: {chosen.path.name} stopped, {error.ename}: {error.evalue}", file=sys.stderr)
            return True
    return False


RUN = {"paper": "wrcanet", "options": {}, "recipe": {}, "dataset": "street", "profile": "demo", "seed": 0}
RUN |= {"weights": None, "data_root": "", "experiment": None}
"""The parameters of ``notebooks/run.ipynb``."""


def _run(chosen: argparse.Namespace) -> None:
    from accelerate import PartialState

    from .papers import find_paper
    from .papers.experiments import checked, one_experiment
    from .runs import run
    from .training import distributed
    from .training.experiment import from_json

    given = chosen.parameters
    if not isinstance(given, dict):
        raise ValueError(f"run takes a JSON object of {', '.join(RUN)}, or an experiment, found {given!r}")
    if "backbone" in given:  # as experiment.json in a run's folder
        given = {"experiment": given}
    if unknown := sorted(set(given) - set(RUN)):
        raise ValueError(f"run has no parameter {unknown[0]!r}: it has {', '.join(RUN)}")
    name, *row, root, written = (RUN | given).values()
    options, recipe, dataset, profile, *rest = row
    row = [options, recipe, catalog.resolve(dataset, root, profile), profile, *rest]
    experiment = checked(from_json(written)) if written else one_experiment(find_paper(name), *row)
    result = run(experiment, catalog.load(experiment.dataset, root))
    if distributed.is_distributed():
        PartialState().destroy_process_group()
    if distributed.is_main_process():
        print(f"mAP {result.metrics['map']:.2f}, rank-1 {result.metrics['rank1']:.2f}: {result.folder}")


def _study(chosen: argparse.Namespace) -> bool:
    from .files import write_atomically
    from .study import session
    from .study.plan import Settings, settings

    asked = chosen.settings or {field.name: getattr(chosen, field.name) for field in fields(Settings)}
    given = {name: value for name, value in asked.items() if value is not None}
    only = chosen.only.split(",") if chosen.only else None
    stand = session.train(settings(given), chosen.minutes, chosen.keep, step=chosen.step, only=only)
    print(_lines(stand))
    failed = stand.state.str.startswith("failed").any()
    if chosen.to and not failed:  # a batch study takes the file for a sign that all are finished
        write_atomically(chosen.to, lambda file: stand.to_csv(file, index=False))
    return failed


def _report(chosen: argparse.Namespace) -> None:
    from .files import reference_dir, results_dir
    from .papers import PAPERS
    from .report import page as report  # matplotlib and jinja2 are not on every machine that trains
    from .report.tables import to_csv
    from .report.write import finished_tables
    from .results import all_runs, update_summary
    from .study import reproduction
    from .study.plan import settings

    if chosen.study:
        finished_tables(settings(chosen.study))

    results = results_dir()
    results.mkdir(parents=True, exist_ok=True)
    update_summary(all_runs(results), results / "runs.csv")
    comparison = reproduction.compare(results, reference_dir())
    to_csv(comparison, results / "reproduction.csv")
    print(reproduction.in_a_line(comparison))
    for name, paper in PAPERS.items():
        to_csv(paper.ledger(), results / f"readings-{name}.csv")
        to_csv(paper.contradictions_table(), results / f"contradictions-{name}.csv")
    print(report.build(results))
    if chosen.publish:
        reproduction.publish(results, reference_dir())
        print(report.build(reference_dir()))


def _weights(chosen: argparse.Namespace) -> None:
    from . import weight_files
    from .files import results_dir
    from .models.backbone import SHAPES, resnet

    path = weight_files.existing_file(chosen.file)
    state, source = weight_files.read_state(path), weight_files.source(path)
    print(f"{path}\nsha256 {source.sha256}\n{len(state)} arrays, {sum(x.numel() for x in state.values()):,} numbers")
    matches = {name: weight_files.match(resnet(name), state, skip=("fc.",)) for name in SHAPES}
    nearest = max(matches, key=lambda name: len(matches[name].state))
    if matches[nearest].missing:
        print(f"fits no ResNet of this package; nearest is {nearest}: {matches[nearest]}")
    else:
        unused = f"; not used: {', '.join(matches[nearest].extra)}" if matches[nearest].extra else ""
        print(f"fits {nearest}{unused}")
    if chosen.describe:
        print(f"described in {weight_files.describe(path, chosen.describe, results_dir())}")


def _extract(chosen: argparse.Namespace) -> None:
    from . import search

    if chosen.output.suffix not in search.WRITERS:  # before the extraction, which may take long
        raise ValueError(f"descriptors are written as {' or '.join(search.WRITERS)}, found {chosen.output.name}")
    files = search.images_in(chosen.images)
    descriptors = search.extract(files, chosen.model)
    search.save(chosen.output, files, descriptors)
    print(f"{len(files)} images, {descriptors.shape[1]} numbers each: {chosen.output}")


def _search(chosen: argparse.Namespace) -> None:
    from . import search

    table = search.search(chosen.query, chosen.gallery, chosen.model, chosen.top)
    print(_lines(table.assign(distance=table.distance.map("{:.4f}".format))[["rank", "distance", "path"]]))


def _export(chosen: argparse.Namespace) -> None:
    from .export import export
    from .search import describer

    difference = export(describer(chosen.model), chosen.output)
    print(f"{chosen.output}: the largest difference from the network's descriptors is {difference:.1e}")


def _clean(chosen: argparse.Namespace) -> None:
    # Only what this package made there, in case the cache is a folder that others use too.
    for name in ("pixels", "cuhk03", "compiled", *catalog.STREETS):
        folder = catalog.cache_dir() / name
        if folder.exists():
            shutil.rmtree(folder)
            print(f"removed {folder}")


VERBS = {"data": _data, "notebook": _notebook, "run": _run, "study": _study, "weights": _weights}
VERBS |= {"extract": _extract, "search": _search, "export": _export, "report": _report, "clean": _clean}


if __name__ == "__main__":
    sys.exit(main())
