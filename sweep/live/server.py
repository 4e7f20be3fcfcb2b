"""A server for one sweep, on loopback only: the report, its live curves, and nothing else."""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from search_spaces.errors import SpecError, UserError
from sweep.folder.paths import SweepFolder
from sweep.live.curves import curves_json

LOOPBACK = "127.0.0.1"
SECTION = """
<section id="live" aria-labelledby="live-title">
  <h2 id="live-title">Live</h2>
  <p id="live-state">…</p>
  <div id="live-chart"></div>
  <p>Validation accuracy (%) by epoch: the mean over the seeds; thin lines are runs.
  Colour: optimizer. Line style: scheduler. Grey: all but the best six.
  The rest of the page is from the time when it was loaded.</p>
</section>
<script src="/live.js" defer></script>
"""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def live_page(report: str) -> str:
    """Return the report with the live section; its content security policy also allows this server's script."""
    report = report.replace(
        "script-src 'unsafe-inline';", "script-src 'self' 'unsafe-inline'; connect-src 'self';", 1
    )  # fmt: skip
    place = r"</header>" if "</header>" in report else r"<main[^>]*>"
    return re.sub(place, lambda found: found[0] + SECTION, report, count=1)


class LiveServer(ThreadingHTTPServer):
    """Serves ``/``, ``/live.js`` and ``/curves.json`` of one sweep. No path of a request is a file's path."""

    daemon_threads = True

    def __init__(self, folder: SweepFolder, port: int, make_report: Callable[[], str]) -> None:
        """Listen on ``port`` of loopback; 0: any free port. ``make_report`` returns the report as HTML.

        Raises:
            SpecError: the port is in use, or reserved.
        """
        self._folder = folder
        self._make_report = make_report
        self._lock = threading.Lock()
        self._page: tuple[str, str] | None = None  # the curves that it was made from, and the page
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise SpecError(
                "--port", f"{port} cannot be used ({error.strerror})", "--port 0 takes a free one"
            ) from error
        self.hosts = {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def content(self, path: str) -> tuple[str, str] | None:
        """Return the type and the text of a path; None for any other path.

        Raises:
            UserError: the sweep cannot be read.
        """
        if path == "/":
            return "text/html; charset=utf-8", self.page()
        if path == "/live.js":
            return "text/javascript; charset=utf-8", files("sweep.live").joinpath("live.js").read_text("utf-8")
        if path == "/curves.json":
            return "application/json", curves_json(self._folder)
        return None

    def page(self) -> str:
        """Return the page; it is made again only if the sweep has changed."""
        with self._lock:
            now = curves_json(self._folder)
            if self._page is None or self._page[0] != now:
                self._page = (now, live_page(self._make_report()))
            return self._page[1]


class _Handler(BaseHTTPRequestHandler):
    server: LiveServer
    server_version, sys_version = "lenet-sweep", ""

    def do_GET(self) -> None:
        """Answer a request from this machine; another host name is refused, so no other site can read the page."""
        if self.headers.get("Host", "") not in self.server.hosts:
            self._send(403, "text/plain; charset=utf-8", "this server answers only to its own address\n")
            return
        try:
            found = self.server.content(self.path)
        except UserError as error:
            self._send(503, "text/plain; charset=utf-8", f"{error}\n")
            return
        if found is None:
            self._send(404, "text/plain; charset=utf-8", "not found\n")
        else:
            self._send(200, *found)

    def _send(self, code: int, kind: str, text: str) -> None:
        content = text.encode("utf-8", errors="replace")
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:  # the browser has closed the page
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing for a request."""
