"""A real S3 server on loopback (moto's), with the faults that a network has: slow, 500, closed, gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",  # no credentials are requested from another machine
}
BUCKET = "here"
ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We are sorry</Message></Error>"


class S3Server:
    """The server; its content remains after :meth:`go_away`."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._app: Any = DomainDispatcherApplication(create_backend_app)
        self._faults: list[Callable[[], bool]] = []
        self._lock = threading.Lock()
        self.requests = 0
        self.failed = 0
        self._server: BaseWSGIServer | None = None
        self.port = 0
        self.come_back()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            self.requests += 1
            fault = self._faults.pop(0) if self._faults else None
        if fault is not None and fault():
            self.failed += 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))  # else the answer breaks its pipe
            start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
            return [ERROR]
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer

    def fail_next(self, count: int) -> None:
        """Answer the next ``count`` requests with 500."""
        with self._lock:
            self._faults += [lambda: True] * count

    def slow_next(self, count: int, seconds: float) -> None:
        """Let the next ``count`` requests wait."""
        with self._lock:
            self._faults += [lambda: time.sleep(seconds) is not None] * count

    def go_away(self) -> None:
        """Close the port: every connection is refused."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    def come_back(self) -> None:
        """Open the same port again."""
        self._server = make_server("127.0.0.1", self.port, self._answer, threaded=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def uri(self, bucket: str, prefix: str = "sweeps") -> str:
        """Return the address of a prefix."""
        return f"s3://{bucket}/{prefix}?endpoint_override={self.url}"

    def client(self, service: str = "s3", **credentials: str) -> Any:
        """Return a client that is independent of this project's client."""
        import boto3

        return boto3.client(
            service, endpoint_url=self.url, region_name="us-east-1",
            **{"aws_access_key_id": "testing", "aws_secret_access_key": "testing", **credentials},
        )  # fmt: skip


@contextmanager
def s3_server(*buckets: str) -> Iterator[S3Server]:
    """Run a server with these buckets while the block runs."""
    server = S3Server()
    try:
        for bucket in buckets:
            server.client().create_bucket(Bucket=bucket)
        yield server
    finally:
        if server._server is not None:
            server.go_away()
