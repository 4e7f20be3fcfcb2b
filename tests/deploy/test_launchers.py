"""The launchers in ``deploy/`` are valid for Ray, KubeRay and a shell, as far as a test without a cluster shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
ROOT = DEPLOY.parent
PINNED_RAY = next(
    line.removeprefix("ray==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line.startswith("ray==")
)


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("name", ["ray-cluster.yaml", "kuberay-rayjob.yaml", "slurm.sbatch"])
def test_the_header_of_a_launcher_shows_its_usage_in_three_lines(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    head = [line for line in text.splitlines()[:20] if line.startswith("#   ")]
    assert len(head) == 3


@pytest.mark.parametrize("name", ["ray-cluster.yaml", "kuberay-rayjob.yaml", "rayjob.sh", "slurm.sbatch"])
def test_a_launcher_has_only_verbs_and_options_that_the_command_line_has(name: str) -> None:
    from typer.main import get_command

    from sweep.cli.app import app

    text = (DEPLOY / name).read_text(encoding="utf-8")
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    for verb, words in re.findall(r"\bsweep (run|resume|status|stop|cancel)\b([^\n`';]*)", text):
        options = {option for parameter in verbs[verb].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", words)) <= options, (verb, words)


def test_rays_schema_accepts_the_cluster_config() -> None:
    """With the defaults that Ray adds before it validates."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(read("ray-cluster.yaml")))


def test_every_node_of_the_cluster_requires_the_token_that_it_is_given() -> None:
    config = read("ray-cluster.yaml")
    home = f"/home/{config['auth']['ssh_user']}"
    assert config["file_mounts"][f"{home}/.ray/auth_token"] == "~/.ray/auth_token"  # Ray's default path
    for role in ("head", "worker"):
        starts = [line for line in config[f"{role}_start_ray_commands"] if "ray start" in line]
        assert len(starts) == 1
        assert starts[0].startswith("RAY_AUTH_MODE=token ")
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]


def test_a_sweep_on_the_cluster_waits_for_its_first_worker() -> None:
    """No permanent node has a CPU for a trial; without `--autoscale-timeout` every sweep would be refused."""
    config = read("ray-cluster.yaml")
    types = config["available_node_types"]
    always = [types[config["head_node_type"]], *(one for one in types.values() if one.get("min_workers", 0) > 0)]
    assert not any(one["resources"]["CPU"] for one in always)
    commands = re.findall(r"sweep (?:run|resume) .*?--address auto[^'`]*", (DEPLOY / "ray-cluster.yaml").read_text())
    assert len(commands) == 2
    assert all(re.search(r"--autoscale-timeout \d+", command) for command in commands)


def test_every_node_of_the_cluster_has_a_profile_the_same_image_and_the_python_that_is_required() -> None:
    config = read("ray-cluster.yaml")
    text = (DEPLOY / "ray-cluster.yaml").read_text()
    nodes = [one["node_config"] for one in config["available_node_types"].values()]
    assert len({node["ImageId"] for node in nodes}) == 1
    for node in nodes:
        assert re.search(rf"^# .*\b{node['IamInstanceProfile']['Name']}\b", text, re.MULTILINE)  # see the header
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    environments = [line for line in config["setup_commands"] if " venv " in line]
    assert len(environments) == 1
    assert f" --python {python} " in environments[0]


# The fields of KubeRay's API reference (v1.6) that a launcher may use, with the kinds of their values.
RAYJOB = {
    "entrypoint": str, "runtimeEnvYAML": str, "shutdownAfterJobFinishes": bool, "ttlSecondsAfterFinished": int,
    "backoffLimit": int, "rayClusterSpec": dict, "submissionMode": str, "activeDeadlineSeconds": int, "suspend": bool,
    "entrypointNumCpus": float,
}  # fmt: skip
CLUSTER = {
    "rayVersion": str, "authOptions": dict, "headGroupSpec": dict, "workerGroupSpecs": list,
    "enableInTreeAutoscaling": bool, "autoscalerOptions": dict,
}  # fmt: skip
GROUP = {"rayStartParams": dict, "template": dict}
WORKERS = {**GROUP, "groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int}
CONTAINER = {
    "name": str, "image": str, "env": list, "ports": list, "lifecycle": dict, "resources": dict, "volumeMounts": list,
}  # fmt: skip


def check(found: dict[str, Any], fields: dict[str, type]) -> None:
    assert not found.keys() - fields.keys()
    for key, value in found.items():
        assert isinstance(value, fields[key]), key


def test_the_rayjob_has_the_fields_that_kuberay_documents() -> None:
    job = read("kuberay-rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    check(job["spec"], RAYJOB)
    cluster = job["spec"]["rayClusterSpec"]
    check(cluster, CLUSTER)
    assert cluster["authOptions"] == {"mode": "token"}
    check(cluster["headGroupSpec"], GROUP)
    for group in cluster["workerGroupSpecs"]:
        check(group, WORKERS)
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] >= 30
        for container in pod["containers"]:
            check(container, CONTAINER)
            amounts = container["resources"]
            assert amounts["requests"] == amounts["limits"]
            assert all(isinstance(amount, str) for amount in amounts["limits"].values())
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        assert volumes == {
            mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", ())
        }
    (container,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert "SWEEP_STORAGE" in {variable["name"] for variable in container["env"]}


def test_the_launchers_name_the_ray_that_is_pinned() -> None:
    image = next(line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line.startswith("FROM "))
    assert image.startswith(f"FROM rayproject/ray:{PINNED_RAY}-py311")
    assert read("kuberay-rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == PINNED_RAY
    assert f"ray[default]=={PINNED_RAY}" in (DEPLOY / "ray-cluster.yaml").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"lenet-sweep:{version}" in (DEPLOY / "kuberay-rayjob.yaml").read_text()


RAYJOB_SCRIPT = "/home/ray/lenet-sweep/deploy/rayjob.sh"
SWEEP_STAND_IN = """#!/bin/bash
if [ "$1" = status ]; then exit "$KNOWN"; fi
echo "$@"
mkdir -p "$SWEEP_RUNS_DIR/mine/control"
[ -z "$ENDED_BY" ] || echo "{\\"phase\\": \\"ended\\", \\"ended_by\\": \\"$ENDED_BY\\", \\"told_at\\": 1.5}" \
  > "$SWEEP_RUNS_DIR/mine/control/status.json"
exit "$CODE"
"""


def rayjob(folder: Path, word: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the RayJob's script with the programs in ``folder/bin``."""
    return subprocess.run(
        ["bash", DEPLOY / "rayjob.sh", word], capture_output=True, text=True, check=False, timeout=60,
        env={"SWEEP_STORAGE": "s3://b/p", "SWEEP_RUNS_DIR": str(folder), "PATH": f"{folder}/bin:/usr/bin:/bin"}
        | environment,
    )  # fmt: skip


def put_command(folder: Path, name: str, text: str) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(text)
    (folder / "bin" / name).chmod(0o755)


def test_the_arguments_of_the_rayjobs_script_are_safe_in_another_shell() -> None:
    """`ray job submit` puts them into one line for a shell: a variable there would be expanded too early."""
    assert "COPY --chown=ray:users . /home/ray/lenet-sweep\n" in (DEPLOY / "Dockerfile").read_text()
    job = read("kuberay-rayjob.yaml")
    assert job["spec"]["entrypoint"] == f"bash {RAYJOB_SCRIPT} drive"
    (container,) = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["bash", RAYJOB_SCRIPT, "evict"]


@pytest.mark.parametrize(
    ("code", "ended_by", "job_code"),
    [
        (0, "done", 0),
        (1, "done", 1),
        (130, "stop", 0),
        (130, "cancel", 0),
        (130, "signal", 130),  # of the preStop hook: another cluster continues
        (130, "", 130),
        (137, "", 137),
        (1, "error", 1),
        (2, "error", 0),  # another cluster would have the same mistake
    ],
)
def test_the_rayjob_fails_only_if_another_cluster_should_continue(
    tmp_path: Path, code: int, ended_by: str, job_code: int
) -> None:
    """It resumes a sweep in the storage, otherwise it runs; tested with a `sweep` that prints its arguments."""
    put_command(tmp_path, "sweep", SWEEP_STAND_IN)
    for known, called in ((0, "resume s3://b/p/mine"), (2, "run /sweeps/mine.toml")):
        told = rayjob(tmp_path, "drive", KNOWN=str(known), CODE=str(code), ENDED_BY=ended_by)
        assert (
            told.stdout.splitlines()[0] == f"{called} --address auto --autoscale-timeout 900 --runs-dir {tmp_path}"
        ), told.stderr
        assert told.returncode == job_code, told.stdout + told.stderr


def test_an_interrupted_query_of_the_storage_does_not_start_a_sweep(tmp_path: Path) -> None:
    """`ray job stop` reaches every process of the job."""
    put_command(tmp_path, "sweep", '#!/bin/bash\necho "$1"\nkill -TERM $PPID $$\n')
    told = rayjob(tmp_path, "drive")
    assert (told.returncode, told.stdout) == (130, "status\n")


DRIVER = """
import signal, sys, time
from pathlib import Path
from sweep.folder.control import Control, ControlFolder
from sweep.folder.lease import Lease
from sweep.folder.lease_places import FolderLease
from sweep.process.signals import stopping
folder = Path(sys.argv[1]) / "mine"
folder.mkdir()
with Lease(FolderLease(folder / "lock")) as lease, Control(lease.holder) as control:
    control.serve(ControlFolder(folder / "control"))
    with stopping(lambda: control.asked, lambda text: None) as stop:
        print("at work", flush=True)
        while True:
            stop.check(training=0)
            time.sleep(0.05)
"""


def test_an_evicted_pod_ends_its_driver_by_a_signal_before_ray(tmp_path: Path) -> None:
    put_command(tmp_path, "ray", '#!/bin/bash\ncat "$SWEEP_RUNS_DIR/mine/control/status.json"\necho " ray $*"\n')
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "at work\n"
        # Its parent, this process, takes its exit code while the script waits for it.
        reaper = threading.Thread(target=driver.wait)
        reaper.start()
        told = rayjob(tmp_path, "evict")
        reaper.join(timeout=60)
    finally:
        driver.kill()
        driver.communicate()
    assert '"ended_by": "signal"' in told.stdout, told.stdout + told.stderr
    assert told.stdout.endswith(" ray stop\n")


@pytest.mark.parametrize("name", ["slurm.sbatch", "rayjob.sh"])
def test_shellcheck_finds_nothing_in_a_script(name: str) -> None:
    script = DEPLOY / name
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck (Debian: apt-get install shellcheck)")
    told = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")
