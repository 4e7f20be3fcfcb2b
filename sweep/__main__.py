"""``python -m sweep`` and the console script ``sweep``: exit codes, and one line for each user error."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from search_spaces.errors import UserError
from sweep.process.private_folder import remove_dead_folders
from sweep.process.supervisor import EXIT_INTERRUPTED, supervise
from trainables.optim.plugins import in_sweep_folder, leave_sweep_folders

EXIT_BAD_INPUT = 2
IN_PROCESS = "--in-process"
DISK_HINTS = {
    errno.ENOSPC: "free some space and run the command again; recorded results are kept",
    errno.EDQUOT: "free some of your quota and run the command again; recorded results are kept",
    errno.EROFS: "give another --runs-dir",
}
"""An error of the disk that any write can raise → a hint for the user. Any other OSError keeps its traceback."""


def command() -> None:
    """Run the command line in a child process; see :mod:`sweep.process.supervisor`."""
    if IN_PROCESS in sys.argv:  # a debugger needs the terminal, and without Ray nothing else decides the exit code
        main()
    code = supervise(main)
    remove_dead_folders()  # a child that was killed leaves one
    sys.exit(code)


def main() -> None:
    """Run the command line in this process. Exit codes: 0 done, 1 some run failed, 2 user error, 130 interrupted."""
    leave_sweep_folders()  # before any library is imported
    remove_dead_folders()
    import typer

    from sweep.cli.app import app

    # From click, or from the copy in newer versions of typer.
    usage_error: type[Exception] = typer.BadParameter.__bases__[0]

    if not in_sweep_folder(Path.cwd()):
        sys.path.append(str(Path.cwd()))  # for a `module:Class` in a spec, as with `python -m sweep`
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="sweep", standalone_mode=False)
    except UserError as error:
        print(f"sweep: {error}", file=sys.stderr)
        code = EXIT_BAD_INPUT
    except OSError as error:
        if error.errno not in DISK_HINTS:
            raise
        file = f"{error.filename}: " if error.filename else ""
        print(f"sweep: {file}{error.strerror}; {DISK_HINTS[error.errno]}", file=sys.stderr)
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
