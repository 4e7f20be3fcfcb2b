"""``python -m sweep`` and the console script ``sweep``: exit codes, and one line for each user error."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from types import FrameType

EXIT_BAD_INPUT = 2
NO_MEMORY = (
    "the machine has no free memory for this process; recorded results are kept; end other programs, or lower "
    "--max-concurrent, and run the command again (`sweep resume NAME`)"
)
IN_PROCESS = "--in-process"
DISK_HINTS = {
    errno.ENOSPC: "free some space and run the command again; recorded results are kept",
    errno.EDQUOT: "free some of your quota and run the command again; recorded results are kept",
    errno.EROFS: "give another --runs-dir",
    errno.EACCES: "make it readable and writable for this user and run the command again; recorded results are kept",
    errno.EPERM: "make it readable and writable for this user and run the command again; recorded results are kept",
}
"""An error of the disk that any write can raise → a hint for the user. Any other OSError keeps its traceback."""


def command() -> None:
    """Run the command line in a child process; see :mod:`sweep.process.supervisor`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)  # first: the imports below take a moment
    _check_environment()
    from sweep.process.output import open_missing_streams
    from sweep.process.private_folder import remove_dead_folders
    from sweep.process.supervisor import end_soon, supervise

    open_missing_streams()
    if IN_PROCESS in sys.argv:  # a debugger needs the terminal, and without Ray nothing else decides the exit code
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            main()
        finally:
            end_soon()
    code = supervise(main)
    remove_dead_folders()  # a child that was killed leaves one
    sys.exit(code)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"sweep: interrupted\n")
    os._exit(128 + number)


def main() -> None:
    """Run the command line in this process. Exit codes: 0 done, 1 some run failed, 2 user error, 130 interrupted."""
    _check_environment()
    from sweep.process.memory import is_out_of_memory
    from sweep.process.output import plain_output, say
    from sweep.process.supervisor import EXIT_INTERRUPTED, was_interrupted

    with plain_output():
        try:
            code = _exit_code()
        except KeyboardInterrupt:
            code = None
        except Exception as error:
            if is_out_of_memory(error):
                say(f"sweep: {NO_MEMORY}", error=True)
                code = EXIT_BAD_INPUT
            elif was_interrupted():  # a library has turned the interrupt into an error
                code = None
            else:
                raise
        if code is None:
            say("sweep: interrupted", error=True)
            code = EXIT_INTERRUPTED
    sys.exit(code)


def _check_environment() -> None:
    """End the process with one line if it cannot work here. Nothing of this program is imported before."""
    from sweep.process.environment import environment_problem, name_the_user

    if problem := environment_problem():
        if sys.stderr is not None:
            print(f"sweep: {ascii(problem)[1:-1]}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    name_the_user()


def _exit_code() -> int | None:
    """Run the command line; return its exit code, None if it was interrupted and the user has not read it yet."""
    os.environ["MPLBACKEND"] = "agg"  # before matplotlib is imported: it refuses to start with an unknown backend
    from sweep.process.private_folder import remove_dead_folders
    from trainables.runtime.user_imports import in_sweep_folder, leave_sweep_folders

    leave_sweep_folders()  # before any library is imported
    remove_dead_folders()
    import typer

    from search_spaces.errors import UserError
    from search_spaces.plain_text import message_line
    from sweep.cli.app import app
    from sweep.process.output import say
    from sweep.process.supervisor import EXIT_INTERRUPTED, InterruptedSweepError

    # From click, or from the copy in newer versions of typer.
    usage_error: type[Exception] = typer.BadParameter.__bases__[0]

    if not in_sweep_folder(Path.cwd()):
        sys.path.append(str(Path.cwd()))  # for a `module:Class` in a spec, as with `python -m sweep`
    try:
        code: int | None = app(sys.argv[1:] or ["--help"], prog_name="sweep", standalone_mode=False)
    except UserError as error:
        say(f"sweep: {error}", error=True)
        return EXIT_BAD_INPUT
    except OSError as error:
        if error.errno not in DISK_HINTS:
            raise
        file = f"{error.filename}: " if error.filename else ""
        say(message_line(f"sweep: {file}{error.strerror}; {DISK_HINTS[error.errno]}"), error=True)
        return EXIT_BAD_INPUT
    except usage_error as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        text = " ".join(error.format_message().split())  # type: ignore[attr-defined]
        say(message_line(f"sweep: {text}{hint}"), error=True)
        return EXIT_BAD_INPUT
    except InterruptedSweepError as error:
        say(str(error), error=True)
        return EXIT_INTERRUPTED
    except typer.Abort:
        return None
    return None if code == EXIT_INTERRUPTED else code or 0  # typer turns a KeyboardInterrupt into this code


if __name__ == "__main__":
    command()
