"""The allocator's settings, tested in a separate process, because they apply to the whole process."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import resource, torch
from tests.trainables.small_runs import CPU, make_run
from search_spaces import Protocol
from trainables.runtime.malloc import keep_freed_memory
from trainables.training.batches import Batches
from trainables.data.dataset import load_data
from trainables.training.pack import Pack
assert keep_freed_memory()
torch.set_num_threads(1)
data = load_data("synthetic:n_train=1000,n_test=100,seed=0")
runs = [make_run("SGD", lr=0.01 * k, protocol=Protocol()) for k in range(1, 5)]
batches = Batches(data, [0] * 4, Protocol(), CPU)
pack = Pack(runs, batches.steps, CPU)
def train(steps):
    for step in range(steps):
        pack.train_step(batches.batch(1, step % 7))
train(20)  # until the heap has its size
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
train(20)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library has these settings")
def test_the_memory_of_a_step_is_not_mapped_again_by_the_next() -> None:
    """A step of four runs works in some 20 MB, 5,000 pages: of these nearly none is faulted in again."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert float(found.stdout) < 500
