# SPDX-License-Identifier: Apache-2.0
"""A file is there whole or not at all."""

from __future__ import annotations

import os

import pytest

from chainrule.foundations.files import write_atomically


@pytest.mark.parametrize("content", [b"abc\xff", "äöü\n", lambda stream: stream.write(b"abc")])
def test_content_arrives_and_nothing_else_is_left(tmp_path, content):
    path = write_atomically(tmp_path / "new" / "file.bin", content)
    expected = b"abc" if callable(content) else content.encode() if isinstance(content, str) else content
    assert path.read_bytes() == expected
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


def test_failure_keeps_the_old_file_and_leaves_no_rest(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def break_off(stream):
        stream.write(b"half of the n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, break_off)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


@pytest.mark.skipif(os.name != "posix", reason="symbolic links and modes are POSIX here")
def test_link_is_followed_and_mode_is_the_usual_one(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "new"
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o666 & ~umask


def test_long_names_work(tmp_path):
    path = tmp_path / ("n" * 250)
    write_atomically(path, b"1")
    assert path.read_bytes() == b"1"
