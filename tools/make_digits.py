# SPDX-License-Identifier: Apache-2.0
"""Write chainrule/data/digits.npz from scikit-learn's copy of the UCI handwritten digits: python tools/make_digits.py

The content is checked against a SHA-256 of its raw bytes before anything is written; the same content gives the same
file (fixed time stamps in the archive, one compression level).
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import zipfile
from pathlib import Path

import numpy as np

SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
TARGET = Path(__file__).parents[1] / "chainrule" / "data" / "digits.npz"


def main() -> int:
    """Check, write, and say what was written."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    found = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    if found != SHA256:
        print(f"the digits differ from those expected: SHA-256 {found}, expected {SHA256}", file=sys.stderr)
        return 1
    temporary = TARGET.with_suffix(".tmp")
    temporary.write_bytes(archive({"images": images, "labels": labels}))
    os.replace(temporary, TARGET)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")
    return 0


def archive(arrays: dict[str, np.ndarray]) -> bytes:
    """An .npz file as bytes that depend on the arrays alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            file.writestr(info, member.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return buffer.getvalue()


if __name__ == "__main__":
    raise SystemExit(main())
