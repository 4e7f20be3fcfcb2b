"""The launchers in ``deploy/`` are what Ray, KubeRay and a shell take, as far as one without a cluster can tell."""

from __future__ import annotations

import re
import shutil
import subprocess
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
def test_a_launcher_says_at_its_top_how_it_is_used_in_three_lines(name: str) -> None:
    """And in them are only verbs and options that the command line has."""
    from typer.main import get_command

    from sweep.cli import app

    text = (DEPLOY / name).read_text(encoding="utf-8")
    head = [line for line in text.splitlines()[:20] if line.startswith("#   ")]
    assert len(head) == 3
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    for verb, words in re.findall(r"\bsweep (run|resume|status|stop|cancel)\b([^\n`';]*)", text):
        options = {option for parameter in verbs[verb].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", words)) <= options, (verb, words)


def test_rays_own_schema_takes_the_cluster_config() -> None:
    """With the defaults that Ray itself fills in before it looks."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(read("ray-cluster.yaml")))


def test_every_node_of_the_cluster_asks_for_the_token_that_it_is_given() -> None:
    config = read("ray-cluster.yaml")
    home = f"/home/{config['auth']['ssh_user']}"
    assert config["file_mounts"][f"{home}/.ray/auth_token"] == "~/.ray/auth_token"  # where Ray looks for it by default
    for role in ("head", "worker"):
        starts = [line for line in config[f"{role}_start_ray_commands"] if "ray start" in line]
        assert len(starts) == 1
        assert starts[0].startswith("RAY_AUTH_MODE=token ")
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]


def test_a_sweep_on_the_cluster_waits_for_its_first_worker() -> None:
    """No node that is always there has a CPU for a trial; without `--wait` every sweep would be refused."""
    config = read("ray-cluster.yaml")
    types = config["available_node_types"]
    always = [types[config["head_node_type"]], *(one for one in types.values() if one.get("min_workers", 0) > 0)]
    assert not any(one["resources"]["CPU"] for one in always)
    commands = re.findall(r"sweep (?:run|resume) .*?--address auto[^'`]*", (DEPLOY / "ray-cluster.yaml").read_text())
    assert len(commands) == 2
    assert all(re.search(r"--wait \d+", command) for command in commands)


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


# The fields of KubeRay's API reference (v1.6) that a launcher of ours may use, with the kinds of their values.
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
    environment = yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"]
    assert set(re.findall(r"\$(\w+)", job["spec"]["entrypoint"])) <= environment.keys()


def test_the_launchers_name_the_ray_that_is_pinned() -> None:
    image = next(line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line.startswith("FROM "))
    assert image.startswith(f"FROM rayproject/ray:{PINNED_RAY}-py311")
    assert read("kuberay-rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == PINNED_RAY
    assert f"ray[default]=={PINNED_RAY}" in (DEPLOY / "ray-cluster.yaml").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"lenet-sweep:{version}" in (DEPLOY / "kuberay-rayjob.yaml").read_text()


def test_the_entrypoint_of_the_rayjob_is_one_that_a_shell_takes() -> None:
    """It resumes what the storage has, and else runs: tried with a `sweep` that says what it was called with."""
    entrypoint = read("kuberay-rayjob.yaml")["spec"]["entrypoint"]
    for known, called in ((0, "resume s3://b/p/mine"), (2, "run /sweeps/mine.toml")):
        stand_in = (
            f'sweep() {{ [ "$1" = status ] && return {known}; echo "$@"; }}; exec() {{ "$@"; }}; export -f sweep exec\n'
        )
        told = subprocess.run(
            ["bash", "-c", stand_in + entrypoint], env={"SWEEP_STORAGE": "s3://b/p", "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert told.stdout.strip() == f"{called} --address auto --runs-dir /home/ray/runs"


def test_shellcheck_has_nothing_to_say_about_the_batch_script() -> None:
    script = DEPLOY / "slurm.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck (Debian: apt-get install shellcheck)")
    told = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")
