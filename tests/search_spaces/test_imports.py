"""Large imports pause the garbage collection, and leave it as it was."""

from __future__ import annotations

import gc

import pytest

from search_spaces.imports import large_imports


def test_the_collection_is_paused_in_the_block_only() -> None:
    assert gc.isenabled()
    with large_imports():
        with large_imports():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_continues_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), large_imports():
        raise ImportError
    assert gc.isenabled()
