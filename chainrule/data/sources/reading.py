# SPDX-License-Identifier: Apache-2.0
"""A sample of a source, whose errors name it: its number, where it lies, and what its reader said."""

from __future__ import annotations

from typing import Any

from ...errors import ChainruleError, DataError, MissingExtra, OutOfMemoryError, explain
from ...foundations.files import told
from .base import Source


def read_one(source: Source, index: int) -> Any:
    """The sample of this number; DataError that names it if it cannot be read."""
    try:
        return source.sample(index)
    except (MissingExtra, OutOfMemoryError):
        raise
    except Exception as error:
        raise unreadable(source, index, error) from error


def unreadable(source: Source, index: int, error: Exception) -> ChainruleError:
    """The error for a sample that raised another one when it was read."""
    if isinstance(error, MemoryError):
        return OutOfMemoryError(explain(f"there is no memory for sample {index:,}", got=told(error)))
    place = _place(source, index)
    named = f"sample {index:,}{f' ({place})' if place else ''}"
    if isinstance(error, ChainruleError):
        text = str(error)
        return DataError(text.replace(place, named, 1) if place and text.startswith(place) else f"{named}: {text}")
    return DataError(explain(f"{named} cannot be read", got=_what(error),
                             fix="mend or leave out this sample; Loader(..., skip_errors=True) leaves such samples out "
                                 "and counts them",
                             at=_line(error)))


def _place(source: Source, index: int) -> str | None:
    try:
        return source.where(index)
    except Exception:  # a place is only for the message
        return None


def _what(error: Exception) -> str:
    text = told(error)
    return text if text.startswith(type(error).__name__) else f"{type(error).__name__}: {text}"


def _line(error: Exception) -> str | None:
    """The line of the user's program in which it was raised."""
    import linecache
    import os

    from ...errors import PACKAGE
    trace, found = error.__traceback__, None
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if not filename.startswith((PACKAGE, "<frozen")):
            found = (filename, trace.tb_lineno)
        trace = trace.tb_next
    if found is None:
        return None
    return f"{os.path.basename(found[0])}:{found[1]}  {linecache.getline(*found).strip()}"
