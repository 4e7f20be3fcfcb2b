"""Data sets that torchvision downloads, from a real server on this machine."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.own_sources import cifar10_pickles, parts_of, ten_classes, write_fashion, write_svhn, write_tar
from tests.trainables.small_sources import assert_refused
from trainables.data.dataset import load_data
from trainables.data.downloads import DOWNLOADS
from trainables.data.image_arrays import LabelledImages
from trainables.data.vision import import_torchvision

NAMES = ["cifar10", "svhn", "fashion-mnist"]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def images() -> LabelledImages:
    """Grey in the middle of a black margin, so that each format can hold them."""
    images = ten_classes()
    for pixels in (images.train_images, images.test_images):
        pixels[:] = np.pad(pixels[:, 2:30, 2:30, :1].repeat(3, axis=3), ((0, 0), (2, 2), (2, 2), (0, 0)))
    return replace(images, class_names=tuple("0123456789"))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: LabelledImages) -> Iterator[None]:
    """torchvision's addresses and sums, replaced by those of small files that are served."""
    folder = tmp_path / "site"
    content = cifar10_pickles(images)
    write_tar(folder / "cifar-10-python.tar.gz", "cifar-10-batches-py", content)
    write_svhn(folder / "svhn", images)
    parts = {("t10k" if part == "test" else part): found for part, found in parts_of(images).items()}
    pixels = {part: found[0][:, 2:30, 2:30, 0] for part, found in parts.items()}
    write_fashion(folder, pixels, {part: found[1] for part, found in parts.items()})
    handler = functools.partial(QuietHandler, directory=os.fspath(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("no_proxy", "*")

    def md5(file: str) -> str:
        return hashlib.md5((folder / file).read_bytes()).hexdigest()

    def listed(names: list[str]) -> list[list[str]]:
        return [[name, hashlib.md5(content[name]).hexdigest()] for name in names]

    datasets = import_torchvision("datasets")
    meta = {"filename": "batches.meta", "key": "label_names", "md5": listed(["batches.meta"])[0][1]}
    for name, value in {
        "url": f"{url}/cifar-10-python.tar.gz", "tgz_md5": md5("cifar-10-python.tar.gz"), "meta": meta,
        "train_list": listed([f"data_batch_{i}" for i in range(1, 6)]), "test_list": listed(["test_batch"]),
    }.items():  # fmt: skip
        monkeypatch.setattr(datasets.CIFAR10, name, value)
    mats = {part: f"{part}_32x32.mat" for part in ("train", "test")}
    split_list = {part: [f"{url}/svhn/{file}", file, md5(f"svhn/{file}")] for part, file in mats.items()}
    monkeypatch.setattr(datasets.SVHN, "split_list", split_list)
    raw = "FashionMNIST/raw"
    archives = [(file, md5(f"{raw}/{file}")) for file, _ in datasets.FashionMNIST.resources]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", archives)
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [f"{url}/{raw}/"])
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("site")
def test_a_data_set_is_downloaded_once_and_read(name: str, tmp_path: Path, images: LabelledImages) -> None:
    """The second time nothing is fetched, and nothing but the entry of the cache is left."""
    first = load_data(name, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(first.test_images, images.test_images)
    np.testing.assert_array_equal(first.test_labels, images.test_labels)
    assert (first.name, first.title, first.classes) == (name, DOWNLOADS[name].title, 10)
    assert first.notes[0] == f"{first.title}: 10 classes"
    assert len(list((tmp_path / "cache").iterdir())) == 1
    second = load_data(name, cache_dir=tmp_path / "cache")
    assert (second.fingerprint, second.notes) == (first.fingerprint, first.notes)


@pytest.mark.parametrize("name", NAMES)
def test_labels_that_a_data_set_does_not_have_are_refused_before_the_download(name: str, tmp_path: Path) -> None:
    assert_refused(name, "labels = 'coarse'", DOWNLOADS[name].title, labels="coarse", cache_dir=tmp_path)
