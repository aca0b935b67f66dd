# SPDX-License-Identifier: Apache-2.0
"""Where the real data are."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def data(name: str) -> Path:
    """The folder of a data set; ends the program with a clear word if it is not there."""
    folder = Path(os.environ.get("CHAINRULE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data") / name
    if not folder.is_dir():
        sys.exit(f"{folder} is not there: set CHAINRULE_TEST_DATA to the folder of the data sets")
    return folder
