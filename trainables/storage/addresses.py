"""The storage at an address: a folder, or a prefix in an S3 bucket."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from search_spaces.errors import SpecError
from trainables.storage.folder import FolderStorage
from trainables.storage.interface import PATIENCE_SECONDS, Storage
from trainables.storage.s3 import BucketStorage


def open_storage(uri: str, patience_seconds: float = PATIENCE_SECONDS) -> Storage:
    """Return the storage at ``uri``: a folder, or ``s3://bucket/prefix``; no request is made yet.

    ``?endpoint_override=http://HOST:PORT`` selects another server than Amazon's, ``?region=`` another region.

    Raises:
        SpecError: an invalid address.
    """
    if uri.startswith("s3://"):
        return BucketStorage(uri, patience_seconds)
    if "://" in uri and not uri.startswith("file://"):
        raise SpecError("storage", repr(uri), "a folder, or s3://bucket/prefix")
    return FolderStorage(Path(unquote(urlsplit(uri).path) if uri.startswith("file://") else uri), patience_seconds)
