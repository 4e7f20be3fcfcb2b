"""Errors of classes and functions of a user, as one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from search_spaces.errors import SpecError, UserError

LONGEST_ERROR = 120
"""Maximum length of the text of an error of user code."""


@contextmanager
def one_line_errors(where: str, name: str) -> Iterator[None]:
    """Turn everything that the code of ``name`` raises, a ``SystemExit`` too, into one line; ignore breakpoints.

    Raises:
        SpecError: ``where``, ``name``, and the type and text of the error.
    """
    with without_breakpoints():
        try:
            yield
        except (UserError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise SpecError(where, f"{name} fails: {error_text(error)}") from error


@contextmanager
def without_breakpoints() -> Iterator[None]:
    """Ignore breakpoints: only the training stops at them."""
    hook, sys.breakpointhook = sys.breakpointhook, lambda *_, **__: None
    try:
        yield
    finally:
        sys.breakpointhook = hook


def error_text(error: BaseException) -> str:
    """Return type and text of ``error`` as one line of limited length."""
    text = message_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def message_of(error: BaseException) -> str:
    """Return the text of ``error`` as one line of limited length."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # str() of a user's exception class may fail
        return ""
    return text if len(text) <= LONGEST_ERROR else f"{text[: LONGEST_ERROR - 1]}…"
