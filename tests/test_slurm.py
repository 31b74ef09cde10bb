"""The batch study on a Slurm cluster: its profile, and a study of one table on a cluster made for the test."""

import re
from pathlib import Path

import pytest
import slurm
import yaml

from reidnb.experiments import results_dir

PROFILES = sorted((slurm.ROOT / "profiles").glob("*/config.yaml"))


@pytest.mark.parametrize("file", PROFILES, ids=lambda file: file.parent.name)
def test_profiles_name_rules_that_exist(file: Path):
    rules = set(re.findall(r"^rule (\w+):", (slurm.ROOT / "Snakefile").read_text(), re.MULTILINE))
    profile = yaml.safe_load(file.read_text())
    for option in ("set-threads", "set-resources"):
        assert set(profile.get(option, {})) <= rules
    assert {"slurm": "slurm", "kubernetes": "kubernetes"}.get(file.parent.name) == profile.get("executor")


@pytest.mark.slow
@pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing() or "-")
def test_every_job_of_a_study_goes_through_slurm_with_a_gpu_of_its_own(tmp_path, street_small):
    with slurm.cluster(tmp_path / "cluster") as environment:
        done = slurm.snakemake(environment)
        jobs = slurm.jobs(environment)
    assert done.returncode == 0, done.stdout
    assert set(jobs.state) == {"COMPLETED"}
    by_rule = jobs.groupby(jobs.rule.str.extract(r"rule_([a-z]+)", expand=False)).gpus.unique().map(list).to_dict()
    assert by_rule == {"experiment": ["gres:gpu:1"], "paper": ["N/A"], "report": ["N/A"]}
    assert (results_dir() / "tables" / "wrcanet-table1-street-small-smoke.csv").exists()
