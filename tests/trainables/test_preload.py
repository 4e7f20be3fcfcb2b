"""The module that a worker of Ray imports before it has a trial."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os, sys

class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "trainables.ray_trainable":
            print("threads", os.environ["OMP_NUM_THREADS"])
            raise OSError("a library cannot be loaded")

sys.meta_path.insert(0, Broken())
import trainables.preload
print("after", os.environ.get("OMP_NUM_THREADS"))
"""


def printed(**variables: str) -> list[str]:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.splitlines()


def test_an_error_in_an_import_does_not_end_the_worker_and_the_import_has_one_thread() -> None:
    assert printed() == ["threads 1", "after None"]


def test_the_users_own_number_of_threads_is_kept() -> None:
    assert printed(OMP_NUM_THREADS="3") == ["threads 3", "after 3"]
