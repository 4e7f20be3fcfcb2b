"""``python -m sweep`` and the console script ``sweep``: exit codes, and one line for a user's mistake."""

from __future__ import annotations

import sys
from pathlib import Path

from search_spaces.errors import UserError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line. Exit 0: all done, 1: some run failed, 2: bad input, 130: interrupted."""
    import typer

    from sweep.cli import app

    usage_error: type[Exception] = typer.BadParameter.__bases__[
        0
    ]  # of click, or of the copy that newer versions of typer carry

    sys.path.append(str(Path.cwd()))  # a `module:Class` of a spec may lie beside it, as with `python -m sweep`
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="sweep", standalone_mode=False)
    except UserError as error:
        print(f"sweep: {error}", file=sys.stderr)
        code = EXIT_BAD_INPUT
    except usage_error as error:
        place = getattr(error, "ctx", None)
        hint = f" (see {place.command_path} --help)" if place else ""
        print(f"sweep: {' '.join(error.format_message().split())}{hint}", file=sys.stderr)  # type: ignore[attr-defined]
        code = EXIT_BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
