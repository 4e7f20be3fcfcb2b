"""What every test may lean on: the real data set, where this machine has it, and a cache that is not the user's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.gpu_driver import GpuDriver
    from tests.trainables.s3_server import S3Server

# No test passes or fails by a clock, and a green suite stays green: new examples are looked for by
# `pytest --hypothesis-profile=search`.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("steady")

RAY_GROUP = "ray"
"""The tests that share the session's Ray; the other tests of a file share its fixtures."""

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Give every process one thread: small tensors gain nothing by a second one, which waits for a core."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the session: nothing is written to a home folder, and real images are decoded once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENET_SWEEP_CACHE", str(folder))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield folder


@pytest.fixture(scope="session")
def ray() -> Iterator[Any]:
    """One Ray for the session, with two logical CPUs and a logical GPU; sweeps in this process connect to it."""
    from sweep.execution.ray.session import LOOPBACK, QUIET

    with pytest.MonkeyPatch.context() as patch:
        for key, value in [*QUIET.items(), LOOPBACK]:
            patch.setenv(key, value)
        import ray

        ray.init(
            num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
            runtime_env={"env_vars": {"PYTHONPATH": str(REPOSITORY)}},
        )  # fmt: skip
        yield ray
        ray.shutdown()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread for PyTorch: small tensors gain nothing by a second one, and other tests run beside this."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def gpu_driver() -> Iterator[GpuDriver]:
    """One GPU, as far as PyTorch can tell from the driver; see ``tests/gpu_driver.py``."""
    from tests.gpu_driver import GpuDriver, install

    with pytest.MonkeyPatch.context() as patch:
        driver = GpuDriver()
        install(driver, patch)
        yield driver


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    """A real S3 server on loopback with an empty ``BUCKET``; the keys to it are in the environment."""
    from tests.trainables.s3_server import BUCKET, ENVIRONMENT, s3_server

    with pytest.MonkeyPatch.context() as patch, s3_server(BUCKET) as server:
        for key, value in ENVIRONMENT.items():
            patch.setenv(key, value)
        yield server


@pytest.fixture(scope="session")
def cifar100_dir() -> Path:
    """The real CIFAR-100 in Parquet: ``$CIFAR100_DIR``, else ``../shared/data/cifar100`` beside the repository."""
    if named := os.environ.get("CIFAR100_DIR"):
        if not Path(named).is_dir():
            pytest.fail(f"CIFAR100_DIR={named} is no folder; unset it, or name the folder of the Parquet files")
        return Path(named)
    beside = REPOSITORY.parent / "shared" / "data" / "cifar100"
    if not beside.is_dir():
        pytest.skip("needs the real CIFAR-100 in Parquet; set CIFAR100_DIR to its folder")
    return beside


@cache
def _shares_ray(path: str) -> bool:
    """Return whether a file has tests that use the session's Ray."""
    return "ray: Any" in (REPOSITORY / path).read_text(encoding="utf-8")


def pytest_xdist_make_scheduler(config: Any, log: Any) -> Any:
    """Distribute whole files over the processes; the files whose tests share the session's Ray go to one of them.

    Not ``--dist loadgroup``: xdist 3.8 writes the group into the id of a test, which pytest 9 ignores.
    """
    from xdist.scheduler import LoadFileScheduling

    class OneRay(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return RAY_GROUP if _shares_ray(path) else path

    return OneRay(config, log)
