# SPDX-License-Identifier: Apache-2.0
"""How a command begins and ends: options given twice are refused, and what the system refuses is told in words.

Exit status: 0 done (a training that Ctrl-C ended too: it is kept); 1 the files or options cannot be used, or the disk
is full; 2 the command cannot be understood; 70 a fault of chainrule's own; 130 Ctrl-C with nothing to keep; 141 nobody
reads the output any more, as in `chainrule predict RUN FILES | head`.
"""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from typing import Any, NoReturn

from typer import BadParameter
from typer.core import TyperCommand

from ..errors import DataError, explain

CLOSED = 141
REASONS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up",
           errno.EROFS: "the file system is read-only",
           errno.EACCES: "permission is denied", errno.EPERM: "permission is denied",
           errno.ENOTDIR: "a file lies where a folder is expected",
           errno.EISDIR: "a folder lies where a file is expected", errno.ENAMETOOLONG: "the name is too long",
           errno.EIO: "the disk does not answer",
           errno.EMFILE: "too many files are open", errno.ELOOP: "links lead in a circle",
           errno.EFBIG: "the file is larger than allowed"}


class Command(TyperCommand):
    """A command of the command line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse an option that is given twice and can have one value only: the last would win without a word."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for parameter, times in Counter(order).items():
            if times > 1 and parameter.param_type_name == "option" and not getattr(parameter, "multiple", False):
                raise BadParameter("given more than once", ctx=ctx, param=parameter)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what the operating system refuses becomes an error of ours."""
        try:
            found = super().invoke(ctx)
            sys.stdout.flush()
            return found
        except BrokenPipeError:
            end_closed()
        except OSError as error:
            raise told(error) from error


def told(error: OSError, what: str = "") -> DataError:
    """An error of the operating system as one of ours: what happened where, and what to do."""
    reason = REASONS.get(error.errno or 0, str(error.strerror or error))
    place = (error.filename or what
             or ("the standard output, or the run folder" if error.errno in (errno.ENOSPC, errno.EDQUOT) else None))
    fix = {errno.ENOSPC: "make room; a training that was under way goes on with: chainrule train --resume RUN",
           errno.EROFS: "choose another place: --output FOLDER",
           errno.EACCES: "choose another place, or change the permissions"}.get(error.errno or 0)
    return DataError(explain(reason, got=None if place is None else str(place), fix=fix))


def end_closed() -> NoReturn:
    """End because nobody reads the output any more; what the interpreter still holds back is thrown away."""
    silence(sys.stdout)
    sys.exit(CLOSED)


def silence(stream: Any) -> None:
    """Let what is still buffered for a stream that takes no more go nowhere."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        pass
