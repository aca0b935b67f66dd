# SPDX-License-Identifier: Apache-2.0
"""Weights of other people's models, from the files of PyTorch, safetensors, NumPy, Keras, llama.cpp and ONNX, without
these libraries.

In: the path of a file. Out: `Weights`, name -> array. Nothing in a file is executed, and no more is read than is asked
for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ...errors import ArgumentError, DataError, explain, shown
from ...foundations.files import open_regular
from ...foundations.names import closest
from .contents import Entry, Weights
from .gguf import read_gguf
from .hdf5 import read_hdf5, read_keras
from .npz import read_npy, read_npz
from .onnx_files import read_onnx
from .safetensors_files import INDEX, read_folder, read_parts, read_safetensors
from .torch_files import read_torch

__all__ = ["Entry", "Weights", "read_weights"]

READERS: dict[str, Callable[[Path], Weights]] = {
    ".safetensors": read_safetensors, INDEX: read_parts, ".pt": read_torch, ".pth": read_torch, ".th": read_torch,
    ".ckpt": read_torch,
    ".bin": read_torch, ".npz": read_npz, ".npy": read_npy, ".keras": read_keras, ".h5": read_hdf5, ".hdf5": read_hdf5,
    ".gguf": read_gguf,
    ".onnx": read_onnx,
}


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Name -> array of a file of weights, whoever wrote it; a folder is read as one of Hugging Face's.

    | suffix | of | what comes out |
    |---|---|---|
    | .pt .pth .th .ckpt .bin | PyTorch | tensors by the names of the state; of a checkpoint those of its model |
    | .safetensors, .safetensors.index.json | Hugging Face | the arrays; an index brings those of its parts |
    | .npz .npy | NumPy | the arrays; none of Python objects |
    | .keras .weights.h5 .h5 | Keras | the arrays by their paths; needs h5py, `pip install 'chainrule[hdf5]'` |
    | .gguf | llama.cpp | the arrays as float32, in row-major order; `metadata` has tokenizer and settings |
    | .onnx | ONNX | the initialisers |

    The result is a dict whose arrays are read when they are asked for: opening costs no memory, whatever the size.
    bfloat16, floats of 8 bits and the blocks of GGUF become float32; everything else keeps its dtype, and is a
    read-only view of the file where it is not compressed. Shapes and axes are those of the file: `model.load_weights`
    turns them.

        weights = cr.io.read_weights("resnet20.th")
        weights["module.conv1.weight"].shape        # (16, 3, 3, 3)

    Nothing in a file is executed: a pickle that names anything but tensors and plain containers is refused by that
    name. Raises DataError for a damaged file, for one that states sizes that it does not have, and for one of another
    kind; MissingExtra without h5py.

    >>> np.savez("weights.npz", weight=np.ones((2, 3)))
    >>> weights = cr.io.read_weights("weights.npz")
    >>> {name: array.shape for name, array in weights.items()}
    {'weight': (2, 3)}
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(explain("the path of a file of weights is expected", got=shown(path),
                                    expected="a str or a Path"))
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    open_regular(path).close()
    return _reader(path)(path)


def _reader(path: Path) -> Callable[[Path], Weights]:
    found = next((suffix for suffix in READERS if path.name.lower().endswith(suffix)), None)
    if found is None:
        suffix = path.suffix.lower()
        raise DataError(explain("the suffix tells of no file of weights that can be read", got=str(path),
                                expected=", ".join(READERS),
                                fix=closest(suffix, READERS)
                                or ("a pickle is not read: it could run code"
                                    if suffix in (".pkl", ".pickle", ".joblib") else None)))
    return READERS[found]
