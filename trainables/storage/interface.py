"""Files that every node reaches: in a shared folder, or in a bucket of S3. Each is there whole or not at all.

A fault that may pass (a server that is slow, answers 500 or is gone for a while) is waited for and tried again; one
that will not is told at once, in a line.
"""

from __future__ import annotations

import errno
import os
import re
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from search_spaces.atomic_write import UNFINISHED, atomic_write
from search_spaces.errors import SpecError, StorageError

PATIENCE_SECONDS = 60.0
"""How long an operation is tried again before it counts as failed."""
CONNECT_SECONDS = 3.0
SILENCE_SECONDS = 5.0
"""After which a server that sends nothing is given up for this try."""
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
OPTIONS = ("endpoint_override", "region", "scheme")
"""What may stand behind the ``?`` of an ``s3://`` address."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PASSES = {errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO, errno.EINTR, errno.EAGAIN}  # of a network's file system
_T = TypeVar("_T")

LASTING = {
    "NO_SUCH_BUCKET": "there is no such bucket; make it first, or mend the name",
    "ACCESS_DENIED": "no right to use it; let these credentials list, read, write and delete there",
    "INVALID_ACCESS_KEY_ID": "the server does not know this access key; set AWS_ACCESS_KEY_ID or a profile",
    "INVALID_CLIENT_TOKEN_ID": "the server does not know these credentials; set AWS_ACCESS_KEY_ID or a profile",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is not that of the access key; set AWS_SECRET_ACCESS_KEY",
    "EXPIRED_TOKEN": "the credentials have expired; renew them",
    "InvalidAccessKeyId": "the server does not know this access key; set AWS_ACCESS_KEY_ID or a profile",
    "SignatureDoesNotMatch": "the secret key is not that of the access key; set AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the credentials have expired; renew them",
    "HTTP status 403": "no right to use it; let these credentials list, read, write and delete there",
    "HTTP status 301": "the bucket lies in another region; say ?region= behind the address",
}
"""What an S3 server says that no second try changes → what to tell the user."""


class Storage(ABC):
    """Files by names such as ``checkpoints/3f/epoch1.ckpt``, below one address."""

    def __init__(self, uri: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.uri = uri
        self.patience_seconds = patience_seconds

    @staticmethod
    def open(uri: str, patience_seconds: float = PATIENCE_SECONDS) -> Storage:
        """Return the storage at ``uri``: a folder, or ``s3://bucket/prefix``; nothing is touched yet.

        ``?endpoint_override=http://HOST:PORT`` leads to another server than Amazon's, ``?region=`` to another region.

        Raises:
            SpecError: an address that cannot be.
        """
        if uri.startswith("s3://"):
            return BucketStorage(uri, patience_seconds)
        if "://" in uri and not uri.startswith("file://"):
            raise SpecError("storage", repr(uri), "a folder, or s3://bucket/prefix")
        return FolderStorage(Path(unquote(urlsplit(uri).path) if uri.startswith("file://") else uri), patience_seconds)

    @abstractmethod
    def below(self, folder: str) -> Storage:
        """Return the storage of a folder in this one."""

    @abstractmethod
    def where(self, name: str) -> str:
        """Return what a user is told of the file ``name``."""

    @abstractmethod
    def clear_unfinished(self) -> None:
        """Remove what killed writers left right here."""

    @abstractmethod
    def _read(self, name: str) -> bytes | None: ...

    @abstractmethod
    def _write(self, name: str, content: bytes, before_commit: Callable[[], None] | None) -> None: ...

    @abstractmethod
    def _names(self, folder: str) -> list[str]: ...

    @abstractmethod
    def _delete(self, name: str) -> None: ...

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None where there is none.

        Raises:
            StorageError: it cannot be read now.
        """
        return self._try(name, lambda: self._read(_checked(name)))

    def write(self, name: str, content: bytes, before_commit: Callable[[], None] | None = None) -> None:
        """Write a file: a reader sees the old content or the new one.

        ``before_commit`` is called when all is ready; what it raises leaves the old content.

        Raises:
            StorageError: it cannot be written.
        """
        self._try(name, lambda: self._write(_checked(name), content, before_commit))

    def names(self, folder: str = "") -> list[str]:
        """Return the names of the files right in ``folder``, sorted; none where there is no such folder.

        Raises:
            StorageError: it cannot be listed.
        """
        found = self._try(folder, lambda: self._names(_checked(folder) if folder else ""))
        return sorted(name for name in found if _NAME.fullmatch(name))

    def delete(self, name: str) -> None:
        """Remove a file, if there is one.

        Raises:
            StorageError: it cannot be removed.
        """
        self._try(name, lambda: self._delete(_checked(name)))

    def prove(self) -> None:
        """Write a file, find it, and remove it: what a sweep will need, before it needs it.

        Raises:
            StorageError: one of the three is not possible.
        """
        name = f"probe-{uuid.uuid4().hex}"
        self.write(name, b"a sweep looks whether it may write here")
        if name not in self.names():
            raise StorageError(f"{self.uri}: what was written there a moment ago is not listed; name another place")
        self.delete(name)

    def _try(self, name: str, act: Callable[[], _T]) -> _T:
        """Do ``act``, again and again while what hinders it may pass and patience lasts."""
        pause, until = FIRST_PAUSE_SECONDS, time.monotonic() + self.patience_seconds
        while True:
            try:
                return act()
            except OSError as error:
                reason = self._lasting(error)
                if reason is None and time.monotonic() + pause > until:
                    told = " ".join(str(error).split())[:300]
                    reason = f"did not answer as it should for {self.patience_seconds:g} s ({told})"
                if reason is not None:
                    raise StorageError(f"{self.where(name)}: {reason}") from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    @abstractmethod
    def _lasting(self, error: OSError) -> str | None:
        """Return what is wrong where no second try would mend it; None where one may."""


class FolderStorage(Storage):
    """A folder: on this machine, or on a disk that all nodes share."""

    def __init__(self, path: Path, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.path = path.absolute()  # it travels to processes with another working directory
        super().__init__(str(self.path), patience_seconds)

    def below(self, folder: str) -> FolderStorage:
        """See :meth:`Storage.below`."""
        return FolderStorage(self.path / _checked(folder), self.patience_seconds)

    def where(self, name: str) -> str:
        """See :meth:`Storage.where`."""
        return str(self.path / name)

    def clear_unfinished(self) -> None:
        """See :meth:`Storage.clear_unfinished`."""
        for left in self.path.glob(f"*{UNFINISHED}"):
            self._try(left.name, lambda left=left: left.unlink(missing_ok=True))  # type: ignore[misc]

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def _write(self, name: str, content: bytes, before_commit: Callable[[], None] | None) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, sync=True, before_rename=before_commit) as unfinished:
            unfinished.write_bytes(content)

    def _names(self, folder: str) -> list[str]:
        try:
            return [path.name for path in (self.path / folder).iterdir() if path.is_file()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _delete(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def _lasting(self, error: OSError) -> str | None:
        return None if error.errno in _PASSES else error.strerror or type(error).__name__


class BucketStorage(Storage):
    """A prefix in a bucket of Amazon S3 or of a server that speaks its language.

    Credentials are those that Amazon's own tools find (environment, profile, a machine's role), on every node its own:
    none ever stands in the address, which is written down in the sweep's folder.
    """

    def __init__(self, uri: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        super().__init__(uri, patience_seconds)
        parts = urlsplit(uri)
        options = dict(parse_qsl(parts.query))
        if "@" in parts.netloc:
            raise SpecError("storage", "credentials in an address are written down with it", "set AWS_ACCESS_KEY_ID")
        if not _BUCKET.fullmatch(parts.netloc):
            raise SpecError("storage", f"{parts.netloc!r} cannot name a bucket", "say s3://bucket/prefix")
        if unknown := sorted(set(options) - set(OPTIONS)):
            raise SpecError("storage", f"unknown option {unknown[0]!r}", f"valid: {', '.join(OPTIONS)}")
        prefix = parts.path.strip("/")
        if prefix:
            _checked(prefix)
        self._root = "/".join([parts.netloc, *([prefix] if prefix else [])])
        self._query = f"?{parts.query}" if parts.query else ""
        self._options = options
        self._opened: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """A connection does not travel."""
        return self.__dict__ | {"_opened": None}

    def below(self, folder: str) -> BucketStorage:
        """See :meth:`Storage.below`."""
        return BucketStorage(f"s3://{self._root}/{_checked(folder)}{self._query}", self.patience_seconds)

    def where(self, name: str) -> str:
        """See :meth:`Storage.where`."""
        return f"s3://{self._root}/{name}".rstrip("/")

    def clear_unfinished(self) -> None:
        """See :meth:`Storage.clear_unfinished`: a bucket shows none."""

    def _system(self) -> Any:
        """Return the connection; opened late, since pyarrow takes its time and wants the network."""
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
        """Return the bucket's region: as said, as set for Amazon's tools, or as Amazon says."""
        said = self._options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if said or other_server or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3"):
            return said or "us-east-1"
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
        stream.close()  # not by `with`: what was not written whole must not be closed as if it were

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

    def _lasting(self, error: OSError) -> str | None:
        text = str(error)
        return next((told for said, told in LASTING.items() if said in text), None)


def _checked(name: str) -> str:
    """Return ``name`` if it leads to nothing outside."""
    if not _NAME.fullmatch(name):
        raise StorageError(f"storage: {name!r} cannot name a file; use letters, digits, '.', '_', '-' and '/'")
    return name
