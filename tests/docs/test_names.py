# SPDX-License-Identifier: Apache-2.0
"""Every name of the library that the documentation uses exists as soon as `chainrule` is imported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = "augment data inspect losses metrics models nn optim settings statistics train tuning".split()
SCRIPT = """
import functools, json, sys
import chainrule as cr

def there(name):
    try:
        functools.reduce(getattr, name.split(".")[name.startswith("cr."):], cr)
    except AttributeError:
        return False
    return True
print(json.dumps([name for name in json.load(sys.stdin) if not there(name)]))
"""


def test_names_in_the_pages_exist():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/concepts/*.md"), *ROOT.glob("docs/how-to/*.md"),
             ROOT / "docs" / "layers.md"]
    codes = [code for page in pages for code in re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))
             if "/" not in code and ".py" not in code]
    names = {found for code in codes
             for found in re.findall(rf"(?<![\w.])(?:cr|{'|'.join(MODULES)})(?:\.[A-Za-z_]\w*)+", code)}
    assert len(names) > 100
    found = subprocess.run([sys.executable, "-c", SCRIPT], input=json.dumps(sorted(names)), capture_output=True,
                           text=True, check=True, cwd=ROOT)
    assert json.loads(found.stdout) == []
