"""`sweep report NAME --serve`: the live page, until Ctrl-C."""

from __future__ import annotations

import typer

from sweep.folder.paths import SweepFolder
from sweep.live.server import LiveServer
from sweep.process.output import say


def serve_report(folder: SweepFolder, port: int, target: float | None, *, open_it: bool) -> None:
    """Serve the report of a sweep on loopback until Ctrl-C.

    Raises:
        SpecError: the port cannot be used.
    """

    def make() -> str:
        from sweep.driver.outputs import make_report

        return make_report(folder, target).read_text(encoding="utf-8")

    with LiveServer(folder, port, make) as server:
        say(f"{folder.name}: {server.address} (this machine only; Ctrl-C ends it)")
        if open_it:
            typer.launch(server.address)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            say("ended")
