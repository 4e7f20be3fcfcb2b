"""A sweep's folder that loses its permissions while the sweep trains."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep.sweeps import DATA, PATIENCE_SECONDS, ROOT

OPTIMIZER = """
import os
from pathlib import Path
from torch.optim import SGD

class Closing(SGD):
    \"\"\"After some steps the folder cannot be written.\"\"\"

    def step(self, closure=None):
        self.taken = getattr(self, "taken", 0) + 1
        if self.taken == 20:
            for path in (Path("runs/s"), *Path("runs/s").rglob("*")):
                path.chmod(0o500 if path.is_dir() else 0o400)
        return super().step(closure)
"""
SPEC = f"""
data = "{DATA}"
epochs = 3
seeds = 1
[protocol]
batch_size = 64
[[configurations]]
optimizer = {{name = "closing:Closing", lr = 0.05}}
"""
WITHOUT_PRIVILEGE = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
]


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() == 0 and not shutil.which("setpriv"), reason="permissions do not bind root")
def test_a_folder_that_loses_its_permissions_is_one_line(tmp_path: Path) -> None:
    """With the file, the reason and what to do; root runs it without the capability to ignore permissions."""
    (tmp_path / "closing.py").write_text(OPTIMIZER)
    (tmp_path / "s.toml").write_text(SPEC)
    command = [sys.executable, "-m", "sweep", "run", "s.toml", "--in-process"]
    found = subprocess.run(
        [*(WITHOUT_PRIVILEGE if os.getuid() == 0 else []), *command],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    for path in (tmp_path / "runs" / "s", *(tmp_path / "runs" / "s").iterdir()):
        path.chmod(0o700)
    assert found.returncode == 2, found.stderr
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"sweep: {tmp_path}/runs/s/")
    assert "Permission denied; make it readable and writable" in line
