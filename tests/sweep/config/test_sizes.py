"""Sizes that explode are counted when the spec is read, before a large library is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces.errors import UserError
from sweep.config.toml import parse_spec

ROOT = Path(__file__).parents[3]
ONE = 'optimizer = {name = "SGD", lr = 0.1}'
TOO_LARGE = {
    "a grid": ("", f"{ONE[:-1]}, {', '.join(f'k{i} = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]' for i in range(8))}}}",
               "100,000,000 configurations × 3 seeds = 300,000,000 runs, more than max_runs = 100,000"),
    "a logspace": ("", 'optimizer = {name = "SGD", lr = {logspace = [1e-3, 1], n = 1000000000}}', "3,000,000,000 runs"),
    "seeds": ("seeds = 7\nmax_runs = 6\n", ONE, "1 configuration × 7 seeds = 7 runs, more than max_runs = 6"),
    "data": ('data = "synthetic:n_train=1000000000"\n', ONE, "1,000,001,000 images, more than max_images = 1,000,000"),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "block", "told"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_spec_that_asks_for_too_much_is_refused_when_it_is_read(keys: str, block: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        parse_spec(f"{keys}[[configurations]]\n{block}", where="big.toml", name="big")
    assert told in str(error.value)
    assert len(str(error.value)) < 300


def test_the_command_answers_before_torch_is_imported(tmp_path: Path) -> None:
    """Its import takes longer than the answer may."""
    (tmp_path / "big.toml").write_text(f"[[configurations]]\n{TOO_LARGE['a logspace'][1]}")
    code = (
        "import sys\n"
        "from sweep.__main__ import main\n"
        "sys.argv = ['sweep', 'run', 'big.toml', '--in-process']\n"
        "try:\n    main()\n"
        "finally:\n    print(*{'torch', 'ray', 'pandas'} & set(sys.modules))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stdout) == (2, "\n")
    assert found.stderr.startswith("sweep: big: configurations: 1,000,000,000 configurations")
