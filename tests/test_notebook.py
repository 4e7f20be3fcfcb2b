"""The notebook runs unchanged, on embedded data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "notebooks" / "study.ipynb"
PATIENCE_SECONDS = 300


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure that it ends a cell with is shown as a picture, and every table as one."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=PATIENCE_SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in data for data in shown) == 6
    assert sum("dataframe" in "".join(data.get("text/html", "")) for data in shown) == 4
    assert (tmp_path / "runs" / "notebook" / "ledger.sqlite").exists()


def test_the_notebook_is_kept_without_outputs() -> None:
    """The repository has no outputs that may be outdated."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


@pytest.mark.slow
def test_the_first_cell_installs_the_package_where_it_is_missing(tmp_path: Path) -> None:
    """As on Colab: a Python with PyTorch and the other packages, and a clone beside the notebook."""
    packages = tmp_path / "packages"
    packages.mkdir()
    folders = [Path(one) for one in sys.path if Path(one).name == "site-packages"]
    found = {path.name: path for folder in reversed(folders) for path in folder.iterdir()}
    for name, path in found.items():
        if "lenet_sweep" not in name and path.suffix != ".pth":
            (packages / name).symlink_to(path)
    venv.create(tmp_path / "colab", with_pip=True)
    python = tmp_path / "colab" / "bin" / "python"
    (own,) = (tmp_path / "colab" / "lib").glob("python*/site-packages")
    (own / "preinstalled.pth").write_text(f"{packages}\n")
    shutil.copytree(ROOT, tmp_path / "lenet-sweep", ignore=shutil.ignore_patterns(".*", "site", "runs", "*.egg-info"))
    (first, *_) = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    (tmp_path / "first.ipy").write_text(first.source)
    where = [str(python), "-c", "import sweep; print(sweep.__file__)"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    assert subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, check=False).returncode == 1
    for _ in range(2):  # the second time, nothing is installed
        subprocess.run([python, "-m", "IPython", "first.ipy"], cwd=tmp_path, env=environment, check=True)
    shown = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert Path(shown.stdout.strip()).is_relative_to(own)
