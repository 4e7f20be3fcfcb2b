"""The connection to a Ray cluster: its address, its token, and the code that its nodes get. Every error is one line."""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from socket import create_connection
from typing import Any

from search_spaces import Configuration
from search_spaces.errors import EnvironmentMismatchError, SpecError, SweepFolderError

ANSWER_SECONDS = 30.0
"""Time for the connection and the answers of all nodes before anything starts. Ray itself tries a wrong token for 20
seconds, and an address without a node for minutes."""
ANSWER_VARIABLE = "LENET_SWEEP_ANSWER_SECONDS"
CONNECT_SECONDS = 5.0
PACKAGES = ("search_spaces", "trainables")
"""The packages that a trial needs; only these are sent to the nodes."""
VALID_ADDRESSES = "local, auto, or HOST:PORT"
JOB_FOLDERS = ("runtime_resources", "working_dir_files")
"""Where in its session's folder Ray unpacks the working directory of a job; it clears that away when it likes."""

_HOST_PORT = re.compile(r"([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})")
_NAMED = re.compile(r"([A-Za-z_]\w*)(\.\w+)*:[A-Za-z_][\w.]*")

PROBE = """
import sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR", configure_logging=False)
print("connected")
"""


def check_address(address: str) -> None:
    """Refuse an invalid address, and the address of a Ray client.

    Raises:
        SpecError: the line says what would be right.
    """
    if address.startswith("ray://"):
        host = address.removeprefix("ray://").partition(":")[0] or "HOST"
        raise SpecError(
            "cluster.address", f"{address!r} would move Tune's loop, and with it the ledger, to the head node",
            f"say: ray job submit --address http://{host}:8265 --working-dir . -- {_own_command()}",
        )  # fmt: skip
    if address not in ("local", "auto") and not _HOST_PORT.fullmatch(address):
        raise SpecError("cluster.address", repr(address), VALID_ADDRESSES)


def _own_command() -> str:
    """Return this command as it reads on the head node, with a place for the record that outlives the job."""
    words = [word for word in sys.argv[1:] if not word.startswith("--address=")]
    while "--address" in words:
        at = words.index("--address")
        del words[at : at + 2]
    words = words or ["run", "SPACE"]
    runs_dir = _given("--runs-dir", words)
    kept = _given("--storage", words) or (runs_dir and Path(runs_dir).is_absolute())
    words += [] if kept else ["--storage", "PLACE"]
    return shlex.join(["python", "-m", "sweep", *words, "--address", "auto"])


def _given(flag: str, words: Sequence[str]) -> str | None:
    """Return the value that ``flag`` has in a command's ``words``, None where it is not there."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def check_record_stays(runs_dir: Path, storage: str) -> None:
    """Refuse to store the only ledger of a sweep in a folder that Ray deletes with the job.

    Raises:
        SweepFolderError: ``runs_dir`` lies there, and there is no ``storage``.
    """
    place = runs_dir.resolve()
    if not storage and JOB_FOLDERS in itertools.pairwise(place.parts):
        raise SweepFolderError(
            f"{place}: lies in a job's own folder, which Ray takes away with the sweep in it; "
            "give --storage PLACE, or an absolute --runs-dir elsewhere"
        )


def check_token(address: str) -> None:
    """Refuse to connect to a cluster without a token, and with one that other users can read.

    Raises:
        EnvironmentMismatchError: authentication is switched off, or the token is missing or not secret.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        raise EnvironmentMismatchError(
            f"address {address!r}: RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']} lets anybody on the network run code; "
            "set RAY_AUTH_MODE=token here and on every node"
        )
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    if not os.environ.get("RAY_AUTH_TOKEN") and not path.is_file():
        raise EnvironmentMismatchError(
            f"address {address!r}: no token in RAY_AUTH_TOKEN or {path}; make one with "
            "`ray get-auth-token --generate`, and give the same to every node"
        )
    if not os.environ.get("RAY_AUTH_TOKEN") and path.stat().st_mode & 0o077:
        raise EnvironmentMismatchError(
            f"{path}: other users can read this token (mode {path.stat().st_mode & 0o777:04o}) and run code as you; "
            f"type: chmod 600 {shlex.quote(str(path))}"
        )
    if address == "auto":
        _check_address_file()
    os.environ["RAY_AUTH_MODE"] = "token"


def _check_address_file() -> None:
    """Refuse the file with the address of ``auto`` if another user wrote it: that user would get the token.

    Raises:
        EnvironmentMismatchError: another user wrote the file; the message names the option to use.
    """
    if os.environ.get("RAY_ADDRESS"):
        return
    from ray._common.utils import get_ray_address_file

    path = Path(get_ray_address_file(None))
    with suppress(OSError):
        about = path.lstat()
        if about.st_uid not in (0, os.getuid()):
            raise EnvironmentMismatchError(
                f"address 'auto': another user (uid {about.st_uid}) wrote {path}, and would get your token; "
                "if you trust that cluster, give --address HOST:PORT"
            )


def answer_seconds() -> float:
    """Return the time that a cluster has to answer: ``LENET_SWEEP_ANSWER_SECONDS`` where a slow one needs more.

    Raises:
        SpecError: the variable is no number of seconds.
    """
    asked = os.environ.get(ANSWER_VARIABLE, "")
    try:
        seconds = float(asked or ANSWER_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise SpecError(ANSWER_VARIABLE, repr(asked), "a number of seconds, such as 60")
    return seconds


def check_reachable(address: str) -> None:
    """Try the connection in a separate process: Ray may hang, and prints the reason to the screen only.

    Raises:
        SpecError: ``LENET_SWEEP_ANSWER_SECONDS`` is no number of seconds.
        EnvironmentMismatchError: nobody listens, another token, another version of Ray or Python, or no node here.
    """
    where, until = f"address {address!r}", time.monotonic() + answer_seconds()
    if match := _HOST_PORT.fullmatch(address):
        try:
            create_connection((match[1].strip("[]"), int(match[2])), timeout=CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            reason = " ".join(str(error).split())
            raise EnvironmentMismatchError(
                f"{where}: nobody answers there ({reason}); `ray start --head` prints the right one"
            ) from error
    said = _probe(address, until)
    if said is None:
        return
    if "InvalidAuthToken" in said or "Unauthenticated" in said:
        raise EnvironmentMismatchError(
            f"{where}: the cluster has another token; put its own into RAY_AUTH_TOKEN or ~/.ray/auth_token"
        )
    last = said[said.rfind("Version mismatch") :] if "Version mismatch" in said else said.strip().splitlines()[-1:]
    reason = " ".join(last.split()) if isinstance(last, str) else " ".join(last)
    hint = "" if "Version mismatch" in said else "; the driver runs on a node of the cluster: see docs/cluster.md"
    raise EnvironmentMismatchError(f"{where}: no Ray cluster answers there ({reason[:300]}){hint}")


def _probe(address: str, until: float) -> str | None:
    """Return the error of a process that connects to ``address``; None if it succeeds."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", PROBE, address], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    said: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda stream: said.extend(stream), args=(process.stderr,), daemon=True)
    reader.start()
    try:
        while process.poll() is None and time.monotonic() < until and not any("InvalidAuthToken" in x for x in said):
            time.sleep(0.05)
        if process.returncode == 0:
            return None
        silent = process.returncode is None
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()
    return "".join(said) or (f"no answer in {until - began:.0f} s" if silent else f"exit code {process.returncode}")


def shipped_modules(configurations: Iterable[Configuration]) -> list[str]:
    """Return the code that the nodes get: our packages, and the modules of the working directory that a spec names."""
    places = [str(Path(_origin(package)).parent) for package in PACKAGES]
    for module in sorted({name for one in configurations for name in _modules(one.to_dict())}):
        place = _place(module)
        if place is None or not place.resolve().is_relative_to(Path.cwd().resolve()):
            continue  # an installed package: the nodes have it, or report that it is missing
        if "site-packages" in place.parts or module in PACKAGES:
            continue
        places.append(str(place))
    return places


def _place(module: str) -> Path | None:
    """Return a module's file, or its folder where it is a package, with an ``__init__.py`` or without."""
    spec = importlib.util.find_spec(module)
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or [])
    if folders:
        return Path(folders[0])
    return Path(spec.origin) if spec.origin else None


def _origin(package: str) -> str:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return spec.origin


def _modules(value: Any) -> Iterator[str]:
    """Yield the outermost module of every ``module:attribute`` in a configuration."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _modules(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _modules(inner)
    elif isinstance(value, str) and (match := _NAMED.fullmatch(value)):
        yield match[1]
