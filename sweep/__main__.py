"""``python -m sweep`` and the console script ``sweep``: exit codes, and one line for a user's mistake."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from search_spaces.errors import UserError
from sweep.process.supervisor import EXIT_INTERRUPTED, supervise
from trainables.optim.plugins import in_sweep_folder, leave_sweep_folders

EXIT_BAD_INPUT = 2
IN_PROCESS = "--in-process"
DISK_MENDS = {
    errno.ENOSPC: "free some space, then run it again: what was recorded is kept",
    errno.EDQUOT: "free some of your quota, then run it again: what was recorded is kept",
    errno.EROFS: "give another --runs-dir",
}
"""What a disk may refuse at any write → what to tell the user. Any other error of the system keeps its traceback."""


def command() -> None:
    """Run the command line in a process of its own, so that its exit code is right however Ray ends."""
    if IN_PROCESS in sys.argv:  # a debugger needs the terminal, and without Ray nothing else decides the exit code
        main()
    sys.exit(supervise(main))


def main() -> None:
    """Run the command line in this process. Exit 0: all done, 1: some run failed, 2: bad input, 130: interrupted."""
    leave_sweep_folders()  # before a library looks for another one
    import typer

    from sweep.cli.app import app

    # Of click, or of the copy that newer versions of typer carry.
    usage_error: type[Exception] = typer.BadParameter.__bases__[0]

    if not in_sweep_folder(Path.cwd()):
        sys.path.append(str(Path.cwd()))  # a `module:Class` of a spec may lie beside it, as with `python -m sweep`
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="sweep", standalone_mode=False)
    except UserError as error:
        print(f"sweep: {error}", file=sys.stderr)
        code = EXIT_BAD_INPUT
    except OSError as error:
        if error.errno not in DISK_MENDS:
            raise
        file = f"{error.filename}: " if error.filename else ""
        print(f"sweep: {file}{error.strerror}; {DISK_MENDS[error.errno]}", file=sys.stderr)
        code = EXIT_BAD_INPUT
    except usage_error as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        print(f"sweep: {' '.join(error.format_message().split())}{hint}", file=sys.stderr)  # type: ignore[attr-defined]
        code = EXIT_BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    command()
