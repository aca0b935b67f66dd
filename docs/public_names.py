# SPDX-License-Identifier: Apache-2.0
"""Which names are public, and the pages of the reference that are made of them.

A module is public if it is an attribute of `chainrule` that its `__init__` lists; a name of it, if it is in its
`__all__`, or, where it has none, if the module defines it.
"""

from __future__ import annotations

import importlib
import types
from pathlib import Path

import chainrule

TOP = "chainrule"
NOT_SHOWN = ("forward", "build", "config",
             *(f"set_{x}_request" for x in ("fit", "score", "predict", "predict_proba", "transform", "partial_fit")))
BELOW = ("optim.schedules",)  # public modules inside public modules


def modules() -> list[str]:
    """The dotted names of all public modules, the package itself first."""
    return [TOP, *(f"{TOP}.{name}" for name in sorted({*chainrule._MODULES, *BELOW}))]


def names(module: str) -> list[str]:
    """The public names of a module that are not modules themselves."""
    found = importlib.import_module(module)
    listed = (getattr(found, "__all__", None)
              or [name for name, value in vars(found).items() if getattr(value, "__module__", "") == module])
    listed = [*listed, *chainrule._LAZY] if module == TOP else listed
    return sorted({name for name in listed if not name.startswith("_")
                   and not isinstance(getattr(found, name), types.ModuleType)}, key=str.lower)


def write_reference(folder: Path) -> None:
    """One page for each public module, with a table of its names, and one for each name.

    The pages of names stand in no toctree: the sidebar, which is on every page, would list all of them each time.
    """
    (folder / "names").mkdir(parents=True, exist_ok=True)
    for module in modules():
        _write(folder / f"{module}.rst", page(module))
    pages = {f"{module}.{name}": name_page(module, name) for module in modules() for name in names(module)
             if is_ours(module, name)}
    for title, text in pages.items():
        _write(folder / "names" / f"{title}.rst", text)
    for path in (folder / "names").glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    entries = "\n".join(f"   {module}" for module in modules())
    _write(folder / "index.rst",
           "Reference\n=========\n\nEvery public name, by module. The examples stand below ``import chainrule as "
           "cr``, ``import numpy as np`` and ``from chainrule import nn``.\n\n.. toctree::\n   :maxdepth: "
           f"1\n\n{entries}\n")


def is_ours(module: str, name: str) -> bool:
    """Whether a name is a function or class of this library: others are NumPy's data types, constants and tables."""
    value = getattr(importlib.import_module(module), name)
    return callable(value) and getattr(value, "__module__", "").startswith(TOP)


def page(module: str) -> str:
    """The page of a module: its docstring and the table of its names."""
    lines = [module, "=" * len(module), "", f".. automodule:: {module}", "   :no-members:", "",
             f".. currentmodule:: {module}", "",
             ".. autosummary::", "   :nosignatures:", ""]
    ours = [name for name in names(module) if is_ours(module, name)]
    others = [name for name in names(module) if name not in ours]
    lines += [f"   {name}" for name in ours]
    if others:
        lines += ["", "Data types, constants and tables", "--------------------------------", ""]
        lines += [f"- ``{name}``" for name in others]
    return "\n".join([*lines, ""])


def name_page(module: str, name: str) -> str:
    """The page of a name: its docstring and, of a class, its methods."""
    value = getattr(importlib.import_module(module), name)
    kind = "class" if isinstance(value, type) else "function" if isinstance(value, types.FunctionType) else "data"
    lines = [":orphan:", "", name, "=" * len(name), "", f"In :doc:`/reference/{module}`.", "",
             f".. currentmodule:: {module}", "", f".. auto{kind}:: {name}"]
    if kind == "class":
        lines += ["   :members:", f"   :exclude-members: {', '.join(NOT_SHOWN)}"]
    return "\n".join([*lines, ""])


def _write(path: Path, text: str) -> None:
    """Only what has changed: Sphinx reads again what is newer than its last run."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
