from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

IMPORT = """
import sys
from search_spaces.errors import EnvironmentMismatchError
from trainables.data.vision import import_torchvision
try:
    import_torchvision("datasets")
except EnvironmentMismatchError as error:
    print(error)
"""


def message_beside(torchvision: str, folder: Path) -> str:
    """The output of a real process in which ``import torchvision`` finds this source first."""
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(torchvision)
    script = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(REPOSITORY)!r}]\n{IMPORT}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_torchvision_built_for_another_torch_is_named_with_the_command_to_install_it(tmp_path: Path) -> None:
    """Its operators are not registered, which is the error that torch really raises."""
    said = message_beside("import torch\ntorch.library.register_fake('torchvision::nms')(lambda: None)\n", tmp_path)
    assert "torchvision::nms does not exist" in said
    assert "pip install -c constraints.txt torch torchvision" in said
    assert said.count("\n") == 1


def test_both_versions_are_named(tmp_path: Path) -> None:
    """A user needs them to see which of the two is the wrong one."""
    import torch

    said = message_beside("raise OSError('undefined symbol: _ZN3c10')", tmp_path)
    assert f"with torch {torch.__version__.partition('+')[0]}" in said
    assert "undefined symbol" in said
