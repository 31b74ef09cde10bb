"""A Slurm cluster of this one machine in its own folder, to try the batch study on: ``python tests/faults/slurm.py``.

It needs the programs of Slurm and munge (Debian and Ubuntu: ``apt-get install slurm-wlm munge``) and
``pip install --editable '.[slurm]'``; no root, no GPU: its GPUs are names that Slurm gives to jobs.
"""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """\
ClusterName=trial
SlurmctldHost={host}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
MinJobAge=3600
KillWait=5
GresTypes=gpu
NodeName={host} CPUs=2 RealMemory=8000 Gres=gpu:2
PartitionName=trial Nodes={host} Default=YES
"""


def missing() -> str:
    """What is not installed, in a sentence; empty when nothing is."""
    programs = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name, path=_path())]
    if programs:
        return f"a trial of Slurm needs {', '.join(programs)}: install slurm-wlm and munge"
    if not find_spec("snakemake_executor_plugin_slurm"):
        return "a trial of Slurm needs snakemake-executor-plugin-slurm: pip install --editable '.[slurm]'"
    return ""


def _path() -> str:
    return os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A cluster of one node with two cores and two GPUs in name only; gives the environment that leads to it."""
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    user = pwd.getpwuid(os.getuid()).pw_name
    (folder / "slurm.conf").write_text(CONFIG.format(host=host, user=user, folder=folder, ports=_free_ports(2)))
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    # Snakemake's plugin hides SLURM_CONF from the srun that it starts in a job, which then looks in /etc alone.
    srun = folder / "bin" / "srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{srun.parent}:{_path()}"}
    files = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munge.pid"}
    files |= {"log-file": folder / "munged.log", "seed-file": folder / "munge.seed"}
    with ExitStack() as stack:
        for call in (
            ["munged", "--foreground", "--force", *(f"--{name}={file}" for name, file in files.items())],
            ["slurmctld", "-D", "-c"],
            ["slurmd", "-D", "-N", host],
        ):
            stack.enter_context(_running(call, folder / f"{call[0]}.out", environment))
        _until_idle(environment, folder)
        try:
            yield environment
        finally:
            subprocess.run(["scancel", "--user", user], env=environment)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def _running(call: list[str], log: Path, environment: dict[str, str]) -> Iterator[None]:
    with log.open("w") as out:
        process = subprocess.Popen(call, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def _until_idle(environment: dict[str, str], folder: Path, seconds: int = 60) -> None:
    for _ in range(seconds):
        asked = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True)
        if asked.stdout.strip() == "idle":
            return
        time.sleep(1)
    logs = "\n".join(f"{log.name}: {log.read_text()[-500:]}" for log in sorted(folder.glob("*.out")))
    raise RuntimeError(f"the cluster in {folder} did not start in {seconds} s: {asked.stdout}{asked.stderr}\n{logs}")


def snakemake(environment: dict[str, str], *config: str) -> subprocess.CompletedProcess:
    """The smoke study of one table by the Slurm profile, in jobs small enough for this cluster; its output is kept."""
    call = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm"]
    call += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5"]
    call += ["--set-threads", "experiment=1", "--set-resources", "experiment:mem_mb=3000"]
    call += ["--default-resources", "mem_mb=3000", "runtime=60"]
    call += ["--config", "profile=smoke", "datasets=street-small", *(config or ["papers=wrcanet", "tables=table1"])]
    return subprocess.run(call, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def jobs(environment: dict[str, str]) -> pd.DataFrame:
    """A row per job that the cluster was given: its rule (with wildcards), state, seconds and GPUs."""
    fields = {"comment": "rule", "state": "state", "tres-per-job": "gpus", "starttime": "start", "endtime": "end"}
    call = ["squeue", "--states=all", "--noheader", "--Format", ",".join(f"{name}:|" for name in fields)]
    listed = subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout
    table = pd.DataFrame([line.split("|")[:-1] for line in listed.splitlines()], columns=list(fields.values()))
    seconds = (pd.to_datetime(table.end) - pd.to_datetime(table.start)).dt.total_seconds()
    return table.assign(seconds=seconds).drop(columns=["start", "end"])


def main() -> int:
    """The smoke study on a cluster made for it, of the papers and tables in the arguments, such as papers=dranet."""
    if lacking := missing():
        print(lacking, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="slurm") as place, cluster(Path(place)) as environment:
        done = snakemake(environment, *sys.argv[1:])
        print(done.stdout, jobs(environment).to_string(), sep="\n")
        return done.returncode


if __name__ == "__main__":
    sys.exit(main())
