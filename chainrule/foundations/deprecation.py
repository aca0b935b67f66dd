# SPDX-License-Identifier: Apache-2.0
"""How a public name or argument goes away: it warns for two minor versions, and says what to write instead.

The policy stands in `docs/deprecation.md`; a test fails as soon as a version is reached in which something should be
gone.
"""

from __future__ import annotations

import sys
import warnings

from ..errors import PACKAGE, explain


def deprecated(what: str, *, instead: str, since: str, gone: str) -> None:
    """Warn, at the line of the user's program, that `what` goes away; call it where the old thing is still served.

    Args:
        what: the old name as a user writes it, such as "cr.fit(rate=...)".
        instead: what to write in its place.
        since: the first version that warns.
        gone: the version without it, at least two minor versions later.
    """
    warnings.warn(explain(f"{what} goes away", got=f"deprecated since {since}",
                          expected=f"not to be used from version {gone} on", fix=f"write {instead}"),
                  DeprecationWarning, stacklevel=_users_level())


def _users_level() -> int:
    """How many frames above `deprecated` the first one outside this package is."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    return level
