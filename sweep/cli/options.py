"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sweep.folder.paths import DEFAULT_RUNS_DIR, sweep_names

EXIT_FAILED = 1
"""Exit code: some runs have no result, or a check failed."""


def complete_sweep(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of sweeps that begin with ``incomplete``, for the completion of a shell."""
    names = sweep_names(Path(ctx.params.get("runs_dir") or DEFAULT_RUNS_DIR))
    return [name for name in names if name.startswith(incomplete)]


def complete_space(incomplete: str) -> list[str]:
    """Return the names of spaces that begin with ``incomplete``, for the completion of a shell."""
    from search_spaces import space_names

    return [name for name in space_names() if name.startswith(incomplete)]


Source = Annotated[
    str,
    typer.Argument(
        metavar="SPACE|FILE.toml", help="A named space (see `sweep spaces`) or a spec file.",
        autocompletion=complete_space,
    ),
]  # fmt: skip
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Name of the sweep, or the path of its folder.", autocompletion=complete_sweep),
]
NameOrAddress = Annotated[
    str,
    typer.Argument(
        metavar="NAME|PLACE/NAME", help="Name of the sweep, the path of its folder, or its address in its storage.",
        autocompletion=complete_sweep,
    ),
]  # fmt: skip
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Folder that contains the sweeps.")]
Data = Annotated[
    str | None,
    typer.Option(help="cifar100, cifar10, svhn, fashion-mnist, synthetic, or a folder of images (docs/own_data.md)."),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Run id, or the beginning of one (see `sweep runs`).")]

Auto = Any
"""A number or ``auto``. Typer has no type for both; the option's ``parser`` returns one of them."""


def whole_or_auto(text: str) -> int | str:
    """Parse a whole number or ``auto``; the spec validates the range.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number or 'auto'") from None


def number_or_auto(text: str) -> float | str:
    """Parse a number or ``auto``; the spec validates the range.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number or 'auto'") from None


def pack_size(text: str) -> int | str:
    """Parse a whole number, ``auto`` or ``probe``; the spec validates the range.

    Raises:
        typer.BadParameter: it is none of them.
    """
    try:
        return text if text in ("auto", "probe") else int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number, 'auto' or 'probe'") from None


def _auto_option(name: str, parser: Any, metavar: str, text: str) -> Any:
    return typer.Option(name, parser=parser, metavar=metavar, help=text)


PackSize = Annotated[
    Auto | None,
    _auto_option(
        "--pack", pack_size, "K|auto|probe",
        "Number of runs that one trial trains together; probe: measure, without the step times of earlier sweeps.",
    ),
]  # fmt: skip
Cpus = Annotated[
    Auto | None, _auto_option("--cpus-per-trial", number_or_auto, "N|auto", "CPUs (and threads) per trial.")
]
Gpus = Annotated[
    Auto | None, _auto_option("--gpus-per-trial", number_or_auto, "N|auto", "GPUs per trial; fractions are allowed.")
]
Seeds = Annotated[
    Auto | None,
    _auto_option(
        "--seeds", whole_or_auto, "N|auto",
        "Number of seeds; auto: until every comparison with the reference is decided.",
    ),
]  # fmt: skip
MaxSeeds = Annotated[
    int | None, typer.Option(min=2, help="Largest number of seeds for --seeds auto.", show_default="30")
]
Concurrent = Annotated[int | None, typer.Option(help="Maximum concurrent trials (0 = no limit).")]
Address = Annotated[str | None, typer.Option(help="local, auto, or HOST:PORT of a Ray cluster.")]
AutoscaleTimeout = Annotated[
    float | None, typer.Option(help="Seconds to wait for an autoscaling cluster to fit a trial.")
]
Storage = Annotated[
    str | None, typer.Option(help="Shared folder or s3://bucket/prefix for checkpoints and a copy of the results.")
]
Target = Annotated[
    float | None,
    typer.Option(
        min=0, max=100, help="Target validation accuracy in percent.", show_default="95 % of the best"
    ),
]  # fmt: skip
InProcess = Annotated[
    bool, typer.Option("--in-process", help="Train in this process, without Ray; breakpoints work. For debugging.")
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure, without retries.")]
Trust = Annotated[bool, typer.Option("--trust", help="Accept the address and the storage that the file names.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Also retry failed runs.")]
Track = Annotated[
    str | None, typer.Option(help="Trackers, separated by commas: tensorboard, mlflow, wandb (docs/trackers.md).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and train nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress, only the result.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object; everything else goes to standard error.")
]


def near(path: Path) -> Path:
    """Return ``path`` relative to the working directory if it is below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
