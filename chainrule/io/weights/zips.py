# SPDX-License-Identifier: Apache-2.0
"""Where the members of a zip file lie. Nothing is unpacked to a disk, so no name leads anywhere; such names are refused
all the same."""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePosixPath
from typing import Any

from ...foundations.files import reading
from .contents import Mapped, damaged, refuse_bomb

LOCAL = 30  # bytes of the fixed part of the header before a member


class Members:
    """The members of a zip file by name."""

    def __init__(self, mapped: Mapped):
        self.mapped = mapped
        with reading(mapped.path, "zip file"):
            self.file = zipfile.ZipFile(io.BufferedReader(Stream(mapped.bytes)))
            self.infos = {info.filename: info for info in self.file.infolist()}
        if len(self.infos) != len(self.file.infolist()):
            raise damaged(mapped.path, "two members have one name")
        for name, info in self.infos.items():
            if (
                name.startswith("/")
                or "\\" in name
                or ".." in PurePosixPath(name).parts
                or ":" in name.split("/")[0]
                or "\0" in name
            ):
                raise damaged(mapped.path, "a member has a name that leads out of the file: refused",
                              got=repr(name[:80]), fix=None)
            if info.flag_bits & 1:
                raise damaged(mapped.path, "the file is encrypted", got=repr(name[:80]),
                              fix="save it without a password")
            refuse_bomb(mapped.path, f"member {name[:80]!r}", info.file_size, info.compress_size)

    def place(self, name: str) -> tuple[int, int] | None:
        """(start, size) of a member in the file; None for one that is compressed."""
        info = self.infos[name]
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        head = self.mapped.part(info.header_offset, LOCAL, f"member {name!r}")
        if bytes(head[:4]) != b"PK\3\4" or info.file_size != info.compress_size:
            raise damaged(self.mapped.path, f"member {name!r} is damaged")
        start = (info.header_offset + LOCAL + int.from_bytes(head[26:28], "little")
                 + int.from_bytes(head[28:30], "little"))
        self.mapped.part(start, info.file_size, f"member {name!r}")
        return start, info.file_size

    def bytes(self, name: str) -> Any:
        """The content of a member: a view of the file if it is stored as it is."""
        if (place := self.place(name)) is not None:
            return self.mapped.bytes[place[0]:sum(place)]
        with reading(self.mapped.path, f"member {name!r}"):
            return memoryview(self.file.read(name))


class Stream(io.RawIOBase):
    """Bytes as a stream that is never copied as a whole."""

    def __init__(self, content: memoryview):
        self.bytes, self.at = content, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, offset + (0, self.at, len(self.bytes))[whence])
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        part = self.bytes[self.at:self.at + len(buffer)]
        buffer[:len(part)] = part
        self.at += len(part)
        return len(part)
