# SPDX-License-Identifier: Apache-2.0
"""The least versions that pyproject.toml allows, of what the library and its tests need, as requirements for pip.

A bound of two numbers stands for its newest repair: `numpy>=2.1` becomes `numpy==2.1.*`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
    name, least = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups()
    print(f"{name}=={least}" + ("" if least.count(".") > 1 else ".*"))
