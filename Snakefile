# The batch study: an experiment is a job, a paper's notebook waits for its experiments, the report for all.
#
#   snakemake                                                            the demo study on the synthetic street
#   snakemake --config profile=paper datasets=market1501 root=~/reid seeds=3 papers=dranet tables=table4
#   snakemake --workflow-profile profiles/slurm --config ...             the same on a Slurm cluster
#   snakemake pages                                                      then the other notebooks, on the street
#
# A finished experiment stays in results/runs, never trained again; one that was killed resumes after its last epoch.
# Small trainings (demo and smoke on the street) share jobs, since starting a process takes as long as training.
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from reidnb.data.catalog import STREETS
from reidnb.files import check_writable, fix_folders, results_dir
from reidnb.study import plan as study
from reidnb.study import session
from reidnb.study.devices import gpus

try:
    fix_folders()  # the jobs inherit the environment
    if set("{}") & set(str(results_dir())):
        raise ValueError(f"results folder {results_dir()}: snakemake takes braces for wildcards, choose one without them")
    SETTINGS = study.settings(config)
    check_writable(results_dir())
    PLAN = study.plan(SETTINGS)
except (ValueError, OSError) as error:
    raise WorkflowError(str(error)) from None

EXPERIMENTS = {key: experiment for planned in PLAN.values() for key, experiment in planned.items()}
STUDY = json.dumps(asdict(SETTINGS))
NAMES = {f"{paper}-{dataset}-{SETTINGS.profile}": (paper, dataset) for paper, dataset in PLAN}
SHARES = workflow.nodes is None and not gpus() and SETTINGS.profile in ("demo", "smoke")
SHARES = SHARES and all(name.startswith("street") for name in SETTINGS.datasets)
JOBS = {
    f"{paper}-{dataset}-{SETTINGS.profile}-{number}": pieces
    for (paper, dataset), jobs in (session.shared_jobs(SETTINGS) if SHARES else {}).items()
    for number, pieces in enumerate(jobs)
}
MAIN = {name: study.main_table(*pair, SETTINGS) for name, pair in NAMES.items()}
FIRST = {job for job, pieces in JOBS.items() if pieces[0].table == MAIN[job.rpartition("-")[0]][0]}
RESULTS = str(results_dir())
DONE = RESULTS + "/notebooks"
if workflow.nodes is None:  # jobs run here
    GPUS = len(gpus())
    # On CPU cores two jobs of a thread each do more than one of two threads; on a GPU a job has its share of the cores.
    THREADS = max(1, workflow.cores // GPUS) if GPUS else 1
    workflow.global_resources.setdefault("gpu", GPUS)
else:  # jobs run on a cluster, whose GPUs the machine that submits to it may not have
    GPUS, THREADS = 1, 1


def quoted(path):
    """For the shell, and with braces doubled for snakemake: a path may hold spaces and more."""
    return shlex.quote(path).replace("{", "{{").replace("}", "}}")


PYTHON = quoted(sys.executable) + " -m reidnb"
JOB = "OMP_NUM_THREADS={threads} " + PYTHON
NOTEBOOKS = quoted(f"{workflow.basedir}/notebooks")


def parameters(**values):
    """As the notebooks' common parameters, in JSON."""
    return json.dumps(values | {"data_root": SETTINGS.root})


def paper_parameters(name):
    """Of a paper's notebook, which shows one of the tables with its figures."""
    table, where = MAIN[name]
    shared = {"profile": SETTINGS.profile, "seeds": SETTINGS.seeds, "weights": SETTINGS.weights}
    return parameters(table=table, dataset=where, **shared)


def trained(name):
    """What shows that the experiments of a paper's notebook are finished; in shared jobs those of its table."""
    if SHARES:
        return [f"{DONE}/runs/{job}.csv" for job in FIRST if job.rpartition("-")[0] == name]
    return [f"{DONE}/runs/{key}.ipynb" for key in PLAN[NAMES[name]]]


SHOWN = [f"{DONE}/runs/{job}.csv" for job in JOBS] if SHARES else [f"{DONE}/runs/{key}.ipynb" for key in EXPERIMENTS]
# The comparison networks have no notebook of their own.
BOOKS = {path.stem for path in Path(workflow.basedir, "notebooks").glob("*.ipynb")}
SHOWN += [f"{DONE}/{name}.ipynb" for name, (paper, _) in NAMES.items() if paper in BOOKS]
if "street" in SETTINGS.datasets:
    SHOWN.append(f"{DONE}/start.ipynb")
# The notebooks that no study needs, each executed once as a page to read.
OTHERS = ("data", "compare", "attention", "use", "search", "explore", "performance", "run")


def others(wildcards):
    """The executed copies of ``OTHERS``."""
    if not set(STREETS) & set(SETTINGS.datasets):
        raise WorkflowError(f"pages are made on a street only: datasets={','.join(SETTINGS.datasets)} names none")
    return [f"{DONE}/{name}.ipynb" for name in OTHERS]


def other_parameters(wildcards):
    """Those of one of ``OTHERS``, on the study's first street; the measurements are kept short."""
    values = {"dataset": next(name for name in SETTINGS.datasets if name in STREETS), "profile": SETTINGS.profile}
    if wildcards.other in ("attention", "compare"):
        values |= {"seeds": SETTINGS.seeds, "weights": SETTINGS.weights}
    if wildcards.other == "performance":
        values |= {"limit": 5, "repeats": 2}
    return json.dumps(values)


# The notebooks are asked for by name, since a checkout holds a report already, that of the study before.
rule all:
    input:
        SHOWN,
        RESULTS + "/index.html",
    default_target: True


rule report:
    input:
        SHOWN,
    output:
        RESULTS + "/index.html",
    params:
        study=STUDY,
    shell:
        JOB + " report --study {params.study:q}"


# Writes the report once more, which then lists these notebooks too.
rule pages:
    input:
        SHOWN,
        others,
    params:
        study=STUDY,
    shell:
        JOB + " report --study {params.study:q}"


# After the study, whose trainings they read; what is measured has the processor's cores for itself.
rule other:
    input:
        SHOWN,
    output:
        DONE + "/{other}.ipynb",
    wildcard_constraints:
        other="|".join(OTHERS),
    params:
        values=other_parameters,
    log:
        DONE + "/{other}.log",
    threads: lambda wildcards: max(2, THREADS) if wildcards.other == "performance" else THREADS
    shell:
        JOB + " notebook " + NOTEBOOKS + "/{wildcards.other}.ipynb {output:q} {params.values:q} > {log:q} 2>&1"


rule paper:
    input:
        lambda wildcards: trained(wildcards.name),
    output:
        DONE + "/{name}.ipynb",
    priority: 2
    wildcard_constraints:
        name="|".join(NAMES),
    params:
        paper=lambda wildcards: NAMES[wildcards.name][0],
        values=lambda wildcards: paper_parameters(wildcards.name),
    log:
        DONE + "/{name}.log",
    shell:
        JOB + " notebook " + NOTEBOOKS + "/{params.paper}.ipynb {output:q} {params.values:q} > {log:q} 2>&1"


rule experiments:
    output:
        DONE + "/runs/{job}.csv",
    wildcard_constraints:
        job="|".join(set(JOBS) - set(FIRST)) or "none",
    params:
        study=STUDY,
        only=lambda wildcards: ",".join(piece.key for piece in JOBS[wildcards.job]),
    log:
        DONE + "/runs/{job}.log",
    threads: THREADS
    retries: 1
    shell:
        JOB + " study --settings {params.study:q} --only {params.only} --to {output:q} > {log:q} 2>&1"


# The tables that the papers' notebooks show come before the others, so that there is soon something to open.
use rule experiments as first_experiments with:
    wildcard_constraints:
        job="|".join(FIRST) or "none",
    priority: 1


rule start:
    output:
        DONE + "/start.ipynb",
    params:
        values=parameters(dataset="street", profile=SETTINGS.profile),
    log:
        DONE + "/start.log",
    shell:
        JOB + " notebook " + NOTEBOOKS + "/start.ipynb {output:q} {params.values:q} > {log:q} 2>&1"


rule experiment:
    output:
        DONE + "/runs/{key}.ipynb",
    params:
        values=lambda wildcards: parameters(experiment=asdict(EXPERIMENTS[wildcards.key]), planned=wildcards.key),
    log:
        DONE + "/runs/{key}.log",
    threads: THREADS
    resources:
        gpu=min(GPUS, 1),
        mem_mb=6000,
        runtime=24 * 60,
    retries: 1
    shell:
        JOB
        + " notebook --gpu {resources.gpu} "
        + NOTEBOOKS
        + "/run.ipynb {output:q} {params.values:q} > {log:q} 2>&1"


onerror:
    # What is finished is shown all the same, and what is not is named.
    shell(PYTHON + " report --study {STUDY:q}")
