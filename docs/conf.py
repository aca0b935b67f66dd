# SPDX-License-Identifier: Apache-2.0
"""The documentation site: `python -m sphinx -W --keep-going -b html docs docs/_build`.

Pages are Markdown (MyST); the API reference is made from the docstrings of every public name; the chapters of the
tutorial are programs that run while the site is built, and their pictures and prints become part of it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

from public_names import write_reference  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

from chainrule.version import __version__  # noqa: E402

project = "chainrule"
copyright = "the chainrule developers, Apache-2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon",
              "sphinx.ext.viewcode", "sphinx_copybutton",
              "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build", "tutorial/*.rst", "tutorial/*.md"]
default_role = "code"
nitpicky = False

html_theme = "furo"
html_title = f"chainrule {__version__}"
copybutton_prompt_text = ">>> |\\.\\.\\. |\\$ "
copybutton_prompt_is_regexp = True

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache", "ref.python"]  # names of arguments that are attributes elsewhere, too

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autosummary_generate = False  # `public_names` writes the pages
autosummary_ignore_module_all = False
napoleon_google_docstring, napoleon_numpy_docstring = True, False

sphinx_gallery_conf = {
    "examples_dirs": ["tutorial"],
    "gallery_dirs": ["learn"],
    "filename_pattern": r"/\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "min_reported_time": 0,
}

write_reference(HERE / "reference")


MARKUP = re.compile(r"``[^`]*``|`[^`]*`|(?P<sign>[*|]|(?<=\w)_(?!\w))")  # of reStructuredText, but not of our formulas


def plain(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Our docstrings as reStructuredText: indented programs become literal blocks, signs in formulas (|x|, a * b) stay
    signs."""
    found: list[str] = []
    in_program = in_example = False
    for line in lines:
        text = line.strip()
        if text and not in_example and (line.startswith("    ") and found
                                        and not found[-1].strip()) and _is_prose(found) and not text.startswith(">>>"):
            found += ["::", ""]
            in_program = True
        in_program = in_program and (line.startswith("    ") or not text)
        in_example = bool(text) and (in_example or text.startswith(">>>"))
        found.append(line if in_program or in_example
                     else MARKUP.sub(lambda x: "\\" + x[0] if x["sign"] else x[0], line))
    lines[:] = found


def _is_prose(lines: list[str]) -> bool:
    """Whether what stands last, above blank lines, is a paragraph at the margin that begins no section such as `Args:`.
    """
    last = next((x for x in reversed(lines) if x.strip()), "")
    return not last.startswith(" ") and not re.fullmatch(r"[A-Z][a-z]+:", last.strip())


def setup(app: Sphinx) -> None:
    """Before napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", plain, priority=400)
