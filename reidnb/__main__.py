"""The few shell verbs that notebooks cannot give: ``python -m reidnb VERB``."""

import argparse
import builtins
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from zipfile import BadZipFile

import pandas as pd

from .data import catalog
from .files import absolute, cache_dir, check_writable, fix_folders, unfinished
from .parameters import check_names, json_object
from .parameters import checked as checked_parameters

MISTAKES = (ArithmeticError, ImportError, MemoryError, OSError, ValueError)
"""What a verb ends with in a sentence; anything else is a fault of this package and shows where it happened."""
DAMAGED = (BadZipFile, EOFError)
"""What NumPy raises, without the file's name, for a file that is damaged."""


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when it went well, 1 with a sentence on stderr when not."""
    chosen = _parser().parse_args(arguments)
    try:
        fix_folders()
        return int(bool(VERBS[chosen.verb](chosen)))
    except Exception as error:
        if "debug" in chosen or not isinstance(error, MISTAKES + DAMAGED):
            traceback.print_exc()
        print(f"reidnb: {_sentence(error)}", file=sys.stderr)
        return 1


def _sentence(error: Exception) -> str:
    if isinstance(error, DAMAGED):
        return f"a file of the cache {cache_dir()} is damaged ({error}): python -m reidnb clean empties the cache"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) if isinstance(error, MISTAKES) and str(error) else f"{type(error).__name__}: {error}"


def _object(text: str) -> dict:
    """An argument that is a JSON object."""
    try:
        return json_object("the argument", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    debug = argparse.ArgumentParser(add_help=False)
    debug.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show where in the code an error happened"
    )
    parser = argparse.ArgumentParser(
        prog="python -m reidnb", description=__doc__.split(":")[0], parents=[debug], allow_abbrev=False
    )
    verbs = parser.add_subparsers(dest="verb", required=True)

    def verb(name: str, text: str, among: argparse._SubParsersAction = verbs) -> argparse.ArgumentParser:
        return among.add_parser(name, help=text, parents=[debug])

    data_verbs = verbs.add_parser("data", help="look at the data sets on disk").add_subparsers(
        dest="data_verb", required=True
    )
    check = verb("check", "read every image of a data set and compare its numbers with the published", data_verbs)
    check.add_argument("dataset", help=", ".join(sorted(catalog.DATA_SETS)))
    check.add_argument("--root", help="the folder that holds the data sets")
    verb("list", "which data sets lie under a folder", data_verbs).add_argument("--root", required=True)
    notebook = verb("notebook", "execute a notebook by papermill, on a GPU of its own if asked")
    notebook.add_argument("path", type=Path)
    notebook.add_argument("output", type=Path, help="the executed copy")
    notebook.add_argument("parameters", type=_object, help="a JSON object of the notebook's parameters")
    notebook.add_argument("--gpu", type=int, default=0, help="1: wait for a GPU that no other job holds")
    one = verb("run", "train and evaluate one experiment; on several GPUs by accelerate launch")
    one.add_argument(
        "parameters", type=_object, help="a JSON object of run.ipynb's parameters, or an experiment.json's"
    )
    _add_study(verb("study", "train as much of a study as there is time for; a later call resumes"))
    weights = verb("weights", "say what a file of initial weights holds, and which networks it fits")
    weights.add_argument("file", help="a .safetensors file or a checkpoint of torch")
    weights.add_argument("--describe", metavar="TEXT", help="what captions call it from now on (results/weights.json)")
    report = verb("report", "write results/index.html and pages of the executed notebooks")
    report.add_argument(
        "--publish", action="store_true", help="then replace the committed tables and figures, in results/reference"
    )
    report.add_argument("--study", type=_object, help="settings as in the Snakefile: its tables are written first")
    _add_use(verb)
    verb("clean", "remove the cache of images and compiled kernels; runs are kept")
    return parser


def _add_study(part: argparse.ArgumentParser) -> None:
    part.add_argument("--minutes", type=float, help="stop after the epoch that is over then; no limit if not given")
    part.add_argument("--profile", help="paper, quick, scratch, demo or smoke")
    part.add_argument("--papers", help="names by commas, the most wanted first")
    part.add_argument("--datasets", help="names by commas")
    part.add_argument("--tables", help="names by commas; all of a paper if not given")
    part.add_argument("--seeds", help="trainings of each row")
    part.add_argument("--root", help="the folder that holds the data sets")
    part.add_argument("--weights", help="imagenet, a local file, or '' (random), in place of the profile's")
    part.add_argument("--keep", default="weights", help="weights, descriptors (float16) or metrics: what runs keep")
    part.add_argument(
        "--step", default="auto", help="how training steps are taken: auto, eager, graph, compiled or compiled-graph"
    )
    part.add_argument("--settings", type=_object, help="settings as in the Snakefile, in place of the options above")
    part.add_argument("--only", help="keys of its experiments by commas; all if not given")
    part.add_argument("--to", type=Path, help="also write the table of what is finished to this csv file")


def _add_use(verb: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """The verbs that use a trained network on one's images."""
    model = "a finished run (its folder, or the folder's name in results/runs), or a backbone's weights file"
    one = verb("extract", "write the descriptors of a folder of images")
    one.add_argument("images", type=Path, help="a folder, or one image")
    one.add_argument("--model", required=True, help=model)
    one.add_argument("--output", type=Path, required=True, help="a .npz or .parquet file")
    one = verb("search", "list the images of a gallery that are nearest to a query")
    one.add_argument("query", type=Path, help="an image")
    one.add_argument("gallery", type=Path, help="a folder of images, or a file that extract wrote")
    one.add_argument("--model", required=True, help=model)
    one.add_argument("--top", type=int, default=10, help="length of the list")
    one = verb("export", "write a run's network as ONNX or TorchScript, and compare the outputs")
    one.add_argument("--model", required=True, help=model)
    one.add_argument("--output", type=Path, required=True, help="an .onnx or .pt file")


def _data(chosen: argparse.Namespace) -> bool:
    """Print what was asked for; return whether anything is wrong with it."""
    from .data import check

    root = str(absolute(chosen.root)) if chosen.root else None
    if chosen.data_verb == "list":
        table = check.present(root)
        print(_lines(table) if len(table) else f"no known data set under {chosen.root}")
        return False
    place = catalog.locate(chosen.dataset, root)
    print(f"{catalog.resolve(chosen.dataset, root)} in {place}")
    table = check.check(chosen.dataset, root)
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
    """Execute a notebook; return whether a cell failed. Only a complete copy is kept, as a study waits for it."""
    # Not on every machine that trains.
    from papermill import PapermillExecutionError, execute_notebook

    from .study.devices import gpus, one_gpu

    kernel = _kernel(chosen.path)
    with one_gpu(gpus()) if chosen.gpu else nullcontext() as name:
        if name is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = name
        check_writable(chosen.output.parent)
        try:
            with unfinished(chosen.output) as place:
                # The kernel has the user's folder, so that relative paths mean the same to both.
                execute_notebook(
                    str(chosen.path),
                    str(place),
                    chosen.parameters,
                    kernel_name=kernel,
                    language="python",
                    progress_bar=False,
                    stdout_file=sys.stdout,
                )
        except PapermillExecutionError as error:
            kind = getattr(builtins, error.ename, None)
            if "debug" in chosen or not (isinstance(kind, type) and issubclass(kind, MISTAKES)):
                print(*error.traceback, sep="\n", file=sys.stderr)
            print(f"reidnb: {chosen.path.name} stopped, {error.ename}: {error.evalue}", file=sys.stderr)
            return True
    return False


def _kernel(path: Path) -> str:
    """The kernel that a notebook names where it is installed, otherwise that of this environment.

    Raises FileNotFoundError or ValueError for a file that is missing or is no notebook.
    """
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager

    if not path.is_file():
        raise FileNotFoundError(f"there is no notebook {path}")
    try:
        book = nbformat.read(path, as_version=4)
        nbformat.validate(book)
        named = book.metadata.get("kernelspec", {}).get("name", "python3")
    except Exception as error:  # each version of the format has its own
        raise ValueError(f"{path} is not a notebook: {(str(error) or type(error).__name__).splitlines()[0]}") from error
    if named in KernelSpecManager().find_kernel_specs():
        return named
    print(f"the kernel {named!r} of {path.name} is not installed: python3 executes it")
    return "python3"


RUN = {"paper": "wrcanet", "options": {}, "recipe": {}, "dataset": "street", "profile": "demo", "seed": 0}
RUN |= {"weights": None, "backbone": None, "data_root": "", "experiment": None}
"""The parameters of ``notebooks/run.ipynb``."""


def _run(chosen: argparse.Namespace) -> None:
    from accelerate import PartialState

    from .papers import find_paper
    from .papers.experiments import checked, one_experiment
    from .runs import run
    from .training import distributed
    from .training.experiment import from_json

    given = chosen.parameters
    if _is_experiment(given):
        given = {"experiment": given}
    check_names("run", given, RUN)
    if given.get("experiment") and (beside := sorted(given.keys() - {"experiment", "data_root"})):
        raise ValueError(f"{beside[0]}={given[beside[0]]!r} is not used beside an experiment: change it there")
    name, *row, root, written = checked_parameters(RUN | given, RUN).values()
    options, recipe, dataset, profile, *rest = row
    row = [options, recipe, catalog.resolve(dataset, root, profile), profile, *rest]
    experiment = checked(from_json(written)) if written else one_experiment(find_paper(name), *row)
    result = run(experiment, catalog.load(experiment.dataset, root))
    if distributed.is_distributed():
        PartialState().destroy_process_group()
    if distributed.is_main_process():
        print(f"mAP {result.metrics['map']:.2f}, rank-1 {result.metrics['rank1']:.2f}: {result.folder}")


def _is_experiment(given: dict) -> bool:
    """Whether it is the content of a run's experiment.json, which has a backbone and a complete recipe."""
    from .training.recipe import Recipe

    recipe = given.get("recipe")
    return "backbone" in given and isinstance(recipe, dict) and {each.name for each in fields(Recipe)} <= recipe.keys()


def _study(chosen: argparse.Namespace) -> bool:
    from .files import write_atomically
    from .study import session
    from .study.plan import Settings, settings

    parameters = chosen.settings or {field.name: getattr(chosen, field.name) for field in fields(Settings)}
    given = {name: value for name, value in parameters.items() if value is not None}
    only = chosen.only.split(",") if chosen.only else None
    if chosen.minutes is not None and not chosen.minutes >= 0:
        raise ValueError(f"minutes={chosen.minutes}: allowed is a number, at least 0")
    table = session.train(settings(given), chosen.minutes, chosen.keep, step=chosen.step, only=only)
    print(_lines(table))
    failed = table.state.str.startswith("failed").any()
    if chosen.to and not failed:  # a batch study takes the file for a sign that all are finished
        write_atomically(chosen.to, lambda file: table.to_csv(file, index=False))
    return failed


def _report(chosen: argparse.Namespace) -> None:
    from .files import reference_dir, results_dir
    from .papers import PAPERS, find_paper
    from .report import notebooks  # matplotlib, jinja2 and nbconvert are not on every machine that trains
    from .report import page as report
    from .report.tables import to_csv
    from .report.write import finished_tables
    from .results import all_runs, update_summary
    from .study import reproduction
    from .study.plan import plan, settings

    results, nothing_finished, papers = results_dir(), False, dict.fromkeys(PAPERS)
    check_writable(results)
    if chosen.study:
        chosen_study = settings(chosen.study)
        planned = {key for experiments in plan(chosen_study).values() for key in experiments}
        nothing_finished = finished_tables(chosen_study) == len(planned)
        papers |= dict.fromkeys(chosen_study.papers)  # comparison networks are reported where they are named
    update_summary(all_runs(results, log=print), results / "runs.csv")
    comparison = reproduction.compare(results, reference_dir())
    to_csv(comparison, results / "reproduction.csv")
    print(reproduction.in_a_line(comparison))
    for paper in map(find_paper, papers):
        to_csv(paper.ledger(), results / f"readings-{paper.name}.csv")
        to_csv(paper.contradictions_table(), results / f"contradictions-{paper.name}.csv")
    notebooks.write_pages(results)
    print(report.build(results))
    if nothing_finished or not any((results / "tables").glob("*.csv")):
        raise ValueError(f"the report has no table: nothing is finished in {results / 'runs'}")
    if chosen.publish:
        reproduction.publish(results, reference_dir())
        print(report.build(reference_dir()))


def _weights(chosen: argparse.Namespace) -> None:
    from . import weight_files
    from .files import results_dir
    from .parameters import NAMED

    if chosen.file in NAMED:
        raise ValueError(f"weights={chosen.file!r} is a name, not a file: give the path of a file")
    path = weight_files.existing_file(chosen.file)
    state, source = weight_files.read_state(path), weight_files.source(path)
    print(f"{path}\nsha256 {source.sha256}\n{len(state)} arrays, {sum(x.numel() for x in state.values()):,} numbers")
    print(_fit(path, state))
    if chosen.describe:
        print(f"described in {weight_files.describe(path, chosen.describe, results_dir())}")


def _fit(path: Path, state: dict) -> str:
    """Which backbone the arrays of a weights file fit, or that they are a trained network."""
    from .models.backbone import BACKBONES, best_fit
    from .results import Run

    if path.name == "model.safetensors" and Run(path.parent).is_finished:
        return f"the trained network of the finished run {path.parent}: --model of extract, search and export takes it"
    if any(name.startswith("backbone.stages.") for name in state):
        return "a trained network of this package, of no use without the other files of its run's folder"
    if any(name.startswith("body.blocks.") for name in state):
        return "parameters of the attention-driven network's branches: initial weights for this paper alone"
    name, match = best_fit(state)
    if not match.state:
        return f"fits no backbone of this package: {', '.join(BACKBONES)}"
    if match.missing:
        return f"fits no backbone of this package; nearest is {name}: {match}"
    return f"fits {name}" + (f"; not used: {', '.join(match.extra)}" if match.extra else "")


def _extract(chosen: argparse.Namespace) -> None:
    from . import search

    if chosen.output.suffix not in search.WRITERS:  # before the extraction, which may take long
        raise ValueError(f"descriptors are written as {' or '.join(search.WRITERS)}, found {chosen.output.name}")
    files, network = search.images_in(chosen.images), search.describer(chosen.model)
    descriptors = search.extract(files, network)
    search.save(chosen.output, files, descriptors, network)
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
