"""The batch study on a Slurm cluster: its profile, and a study of one table on a cluster made for the test."""

import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from getpass import getuser
from pathlib import Path

import pytest
import slurm
import yaml

PROFILES = sorted((slurm.ROOT / "profiles").glob("*/config.yaml"))


@pytest.mark.parametrize("file", PROFILES, ids=lambda file: file.parent.name)
def test_profiles_name_rules_that_exist(file: Path):
    rules = set(re.findall(r"^rule (\w+):", (slurm.ROOT / "Snakefile").read_text(), re.MULTILINE))
    profile = yaml.safe_load(file.read_text())
    for option in ("set-threads", "set-resources"):
        assert set(profile.get(option, {})) <= rules
    assert {"slurm": "slurm", "kubernetes": "kubernetes"}.get(file.parent.name) == profile.get("executor")


trial = pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing() or "-")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, street_small):
    with slurm.cluster(tmp_path_factory.mktemp("cluster") / "slurm") as environment:
        yield environment


@pytest.mark.slow
@trial
def test_every_job_of_a_study_goes_through_slurm_with_a_gpu_of_its_own(cluster, tmp_path):
    done = slurm.snakemake(cluster | {"REIDNB_RESULTS": str(tmp_path)})
    jobs = slurm.jobs(cluster)
    assert done.returncode == 0, done.stdout
    assert set(jobs.state) == {"COMPLETED"}
    by_rule = jobs.groupby(jobs.rule.str.extract(r"rule_([a-z]+)", expand=False)).gpus.unique().map(list).to_dict()
    assert by_rule == {"experiment": ["gres:gpu:1"], "paper": ["N/A"], "report": ["N/A"]}
    assert (tmp_path / "tables" / "wrcanet-table1-street-small-smoke.csv").exists()


@pytest.mark.slow
@trial
def test_a_training_that_slurm_cancels_is_submitted_again_and_goes_on(cluster, tmp_path):
    with ThreadPoolExecutor(1) as pool:
        study = pool.submit(slurm.snakemake, cluster | {"REIDNB_RESULTS": str(tmp_path)})
        while not (begun := list(tmp_path.glob("runs/*/checkpoint.pt"))) and not study.done():
            time.sleep(0.01)
        subprocess.run(["scancel", "--state=RUNNING", f"--user={getuser()}"], env=cluster, check=True)
        done = study.result()
    assert done.returncode == 0, done.stdout
    assert "CANCELLED" in set(slurm.jobs(cluster).state)
    log = tmp_path / "notebooks" / "runs" / f"{begun[0].parent.name}.log"
    assert "resumed after epoch 1 of 2" in log.read_text()
    assert (begun[0].parent / "metrics.json").exists()
