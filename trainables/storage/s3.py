"""A storage in a bucket of Amazon S3 or of a server with the same protocol."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from search_spaces.errors import SpecError
from trainables.storage.interface import PATIENCE_SECONDS, Storage, checked_name

CONNECT_SECONDS = 3.0
SILENCE_SECONDS = 5.0
"""Time without an answer after which a request is aborted and repeated."""
OPTIONS = ("endpoint_override", "region", "scheme")
"""The options after the ``?`` of an ``s3://`` address."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

PERMANENT = {
    "NO_SUCH_BUCKET": "there is no such bucket; create it or correct its name",
    "ACCESS_DENIED": "access denied; the credentials need the rights to list, read, write and delete",
    "INVALID_ACCESS_KEY_ID": "the access key is unknown to the server; set AWS_ACCESS_KEY_ID or a profile",
    "INVALID_CLIENT_TOKEN_ID": "the credentials are unknown to the server; set AWS_ACCESS_KEY_ID or a profile",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key does not match the access key; set AWS_SECRET_ACCESS_KEY",
    "EXPIRED_TOKEN": "the credentials have expired; renew them",
    "InvalidAccessKeyId": "the access key is unknown to the server; set AWS_ACCESS_KEY_ID or a profile",
    "SignatureDoesNotMatch": "the secret key does not match the access key; set AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the credentials have expired; renew them",
    "HTTP status 403": "access denied; the credentials need the rights to list, read, write and delete",
    "HTTP status 301": "the bucket is in another region; add ?region= to the address",
}
"""Part of a permanent error of an S3 server → the message for the user."""


class BucketStorage(Storage):
    """A prefix in a bucket of Amazon S3 or of a server with the same protocol.

    Each node finds its credentials as Amazon's tools do (environment, profile, role of the machine). The address
    contains none, because it is stored in the folder of the sweep.
    """

    def __init__(self, uri: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        super().__init__(uri, patience_seconds)
        parts = urlsplit(uri)
        options = dict(parse_qsl(parts.query))
        if "@" in parts.netloc:
            raise SpecError("storage", "the address contains credentials, and it is stored", "set AWS_ACCESS_KEY_ID")
        if not _BUCKET.fullmatch(parts.netloc):
            raise SpecError("storage", f"{parts.netloc!r} is not a valid bucket name", "use s3://bucket/prefix")
        if unknown := sorted(set(options) - set(OPTIONS)):
            raise SpecError("storage", f"unknown option {unknown[0]!r}", f"valid: {', '.join(OPTIONS)}")
        prefix = parts.path.strip("/")
        if prefix:
            checked_name(prefix)
        self._root = "/".join([parts.netloc, *([prefix] if prefix else [])])
        self._query = f"?{parts.query}" if parts.query else ""
        self._options = options
        self._opened: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the connection out: it cannot be sent to another process."""
        return self.__dict__ | {"_opened": None}

    def below(self, folder: str) -> BucketStorage:
        """See :meth:`Storage.below`."""
        return BucketStorage(f"s3://{self._root}/{checked_name(folder)}{self._query}", self.patience_seconds)

    def where(self, name: str) -> str:
        """See :meth:`Storage.where`."""
        return f"s3://{self._root}/{name}".rstrip("/")

    def clear_unfinished(self) -> None:
        """See :meth:`Storage.clear_unfinished`: a bucket does not list unfinished files."""

    def _system(self) -> Any:
        """Return the connection, which is opened at its first use: this imports pyarrow and may use the network."""
        if self._opened is None:
            from pyarrow import fs

            endpoint = urlsplit(self._options.get("endpoint_override", ""))
            scheme = self._options.get("scheme") or (endpoint.scheme if endpoint.netloc else "https")
            place = endpoint.netloc or endpoint.path
            self._opened = fs.S3FileSystem(
                endpoint_override=place or None, scheme=scheme, region=self._region(fs, bool(place)),
                connect_timeout=CONNECT_SECONDS, request_timeout=SILENCE_SECONDS, background_writes=False,
                allow_delayed_open=True, retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
            )  # fmt: skip
        return self._opened

    def _region(self, fs: Any, other_server: bool) -> str | None:
        """Return the region of the bucket: from the address, from the environment, or from Amazon."""
        given = self._options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if given or other_server or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3"):
            return given or "us-east-1"
        return str(fs.resolve_s3_region(self._root.partition("/")[0]))

    def _read(self, name: str) -> bytes | None:
        try:
            with self._system().open_input_stream(f"{self._root}/{name}") as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: bytes, before_commit: Callable[[], None] | None) -> None:
        if before_commit:
            before_commit()
        stream = self._system().open_output_stream(f"{self._root}/{name}")
        stream.write(content)
        stream.close()  # not by `with`, which would also commit an incomplete file after an exception

    def _names(self, folder: str) -> list[str]:
        from pyarrow import fs

        place = f"{self._root}/{folder}".rstrip("/")
        found = self._system().get_file_info(fs.FileSelector(place, allow_not_found=True))
        return [info.base_name for info in found if info.type == fs.FileType.File]

    def _delete(self, name: str) -> None:
        try:
            self._system().delete_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return

    def _permanent_reason(self, error: OSError) -> str | None:
        text = str(error)
        return next((message for part, message in PERMANENT.items() if part in text), None)
