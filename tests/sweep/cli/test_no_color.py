"""The help has colours on a terminal, and none with NO_COLOR (https://no-color.org). No other text has colours."""

from __future__ import annotations

import os
import pty
import re
import sys
from pathlib import Path

from tests.sweep.sweeps import ROOT

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m")


def on_a_terminal(*words: str, folder: Path, **variables: str) -> str:
    """Return what ``sweep`` prints on a terminal; its exit code is 0."""
    pid, terminal = pty.fork()
    if not pid:
        kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
        os.chdir(folder)
        environment = kept | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **variables}
        os.execve(sys.executable, [sys.executable, "-m", "sweep", *words], environment)
    printed = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the end of a terminal on Linux
            break
        if not part:
            break
        printed += part
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    text = printed.decode(errors="replace")
    assert os.waitstatus_to_exitcode(status) == 0, text
    return text


def test_help_has_colours_and_none_with_no_color(tmp_path: Path) -> None:
    assert COLOUR.search(on_a_terminal("--help", folder=tmp_path))
    assert not COLOUR.search(on_a_terminal("--help", folder=tmp_path, NO_COLOR="1"))
