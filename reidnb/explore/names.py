"""Readable names of finished runs, each different from the others."""

from dataclasses import asdict, replace

from ..papers import find_paper
from ..papers.experiments import all_options, one_experiment
from ..papers.paper import Paper, Row
from ..results import Run, options_text, weights_of
from ..training.experiment import Experiment, to_json


def labels(runs: list[Run]) -> dict[str, Run]:
    """The runs by name, sorted: paper, printed row or changed options, profile, seed, and a backbone of the user's.

    'WRCANet: ResNet-50+WRA (demo, seed 0)'. Runs that have this in common are also named by the settings in which they
    differ, such as 'epochs=2', and those without such a setting, which saw other data, by the time of their end.
    """
    groups: dict[str, list[Run]] = {}
    for run in dict.fromkeys(runs):
        groups.setdefault(_name(run.experiment), []).append(run)
    result = {}
    for name, group in groups.items():
        details = _differences(group) if len(group) > 1 else [""]
        result |= {name + detail + ")": run for detail, run in zip(details, group, strict=True)}
    return dict(sorted(result.items()))


def _name(experiment: Experiment) -> str:
    """What runs may have in common, up to the closing bracket."""
    paper = find_paper(experiment.paper)
    usual = one_experiment(paper, {}, {}, experiment.dataset, experiment.profile).backbone
    changed = f", backbone={experiment.backbone}" * (experiment.backbone != usual)
    return f"{paper.short}: {_row(experiment, paper)} ({experiment.profile}, seed {experiment.seed}{changed}"


def _row(experiment: Experiment, paper: Paper) -> str:
    """The row of the paper's tables that has these options, under a complete reading if need be, or the options."""

    def has_options(options: dict) -> bool:
        return to_json(all_options(experiment)) == to_json(all_options(replace(experiment, options=options)))

    plain = (Row("full network"), Row("baseline", paper.baseline)) if paper.baseline else ()
    printed = (row for table in (*paper.tables, *paper.beyond) for row in table.rows)
    rows = [*plain, *(row for row in printed if not row.rerank and not row.region)]
    for base in (Row(""), *paper.complete_readings):
        for row in rows:
            if has_options(base.options | row.options):
                return f"{row.name}, {base.name}" if base.name else row.name
    return options_text(experiment)


def _differences(runs: list[Run]) -> list[str]:
    """For runs of one name, what tells each from the others."""
    settings = [_settings(run) for run in runs]
    every = dict.fromkeys(name for each in settings for name in each)
    differing = [name for name in every if len({repr(each.get(name)) for each in settings}) > 1]
    texts = ["".join(f", {name}={each[name]}" for name in differing if name in each) for each in settings]
    for last in (lambda run: f", {run.provenance.get('finished')}", lambda run: f", {run.folder.name[-16:]}"):
        if len(set(texts)) < len(texts):
            texts = [text + last(run) for text, run in zip(texts, runs, strict=True)]
    return texts


def _settings(run: Run) -> dict[str, object]:
    """All settings in which runs of one name may differ; a part of a field of the recipe as 'schedule.warmup'."""
    experiment = run.experiment
    settings: dict[str, object] = {"backbone": experiment.backbone, "weights": weights_of(run)}
    for name, value in (asdict(experiment.recipe) | experiment.options).items():
        parts = value if isinstance(value, dict) else {}
        settings |= {f"{name}.{part}": each for part, each in parts.items()} or {name: value}
    return settings
