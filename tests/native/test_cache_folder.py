# SPDX-License-Identifier: Apache-2.0
"""The folder of compiled code: nothing in it that others could have put there is run, its size is bounded, and programs
do without it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from native_check import compare, graph_of

from chainrule.foundations import config
from chainrule.native.run.code import cache, private
from chainrule.ops import compose as C

needs_owners = pytest.mark.skipif(not private.HAS_OWNERS, reason="no owners and modes here")
CODE = [b"one", b"two"]


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "base"))
    monkeypatch.setattr(cache, "_said", set())
    return tmp_path / "base"


def is_used() -> bool:
    """Whether code is kept and found again; a program runs in either case."""
    x = np.ones((3, 5), "float32")
    compare(graph_of(lambda a: C.softmax(a) * 2.0, [x]), [x])
    cache.write("name", CODE)
    return cache.read("name") == CODE


def test_it_is_made_private(base: Path) -> None:
    assert is_used()
    if private.HAS_OWNERS:
        assert [x.stat().st_mode & 0o777 for x in (base, base / "native",
                                                   base / "native" / "name")] == [0o700, 0o700, 0o600]


@needs_owners
@pytest.mark.parametrize("place", ["base", "base/native", "."])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_a_folder_that_others_can_write(base: Path, place: str, mode: int) -> None:
    (base / "native").mkdir(parents=True)
    (base.parent / place).chmod(mode)
    assert not is_used()
    assert not list((base / "native").iterdir())


@needs_owners
def test_a_folder_that_all_share_must_be_sticky(base: Path) -> None:
    base.parent.chmod(0o1777)
    assert is_used()
    (base / "native").chmod(0o1777)  # nor may others add entries
    assert not is_used()


@needs_owners
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("place", ["base", "base/native", "base/native/name"])
def test_what_belongs_to_others(base: Path, place: str) -> None:
    assert is_used()
    os.chown(base.parent / place, 65534, 65534)
    assert cache.read("name") is None


@needs_owners
@pytest.mark.parametrize("place", ["base", "base/native", "base/native/name"])
def test_links_are_not_followed(base: Path, place: str) -> None:
    assert is_used()
    real = base.parent / "real"
    (base.parent / place).rename(real)
    (base.parent / place).symlink_to(real)
    assert cache.read("name") is None


@needs_owners
def test_entries_that_are_no_files(base: Path) -> None:
    assert is_used()
    (base / "native" / "name").unlink()
    os.mkfifo(base / "native" / "name", 0o600)
    assert cache.read("name") is None  # and does not wait
    cache.write("name", CODE)
    assert cache.read("name") == CODE


@needs_owners
def test_what_was_checked_is_what_is_read(base: Path) -> None:
    assert is_used()
    with private.Folder(base / "native") as folder:
        base.rename(base.parent / "away")
        (base / "native").mkdir(parents=True)
        (base / "native" / "name").write_bytes(b"of others")
        assert folder.read("name") == cache._packed("name", CODE)
        folder.write("other", b"mine", "other.part")
    assert [x.name for x in (base / "native").iterdir()] == ["name"]
    assert (base.parent / "away" / "native" / "other").read_bytes() == b"mine"


def test_an_entry_under_another_name_is_not_used(base: Path) -> None:
    assert is_used()
    os.replace(base / "native" / "name", base / "native" / "other")
    assert cache.read("other") is None


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 200, b"0" * 64 + b"\n1\nx"])
def test_damaged_entries(base: Path, content: bytes) -> None:
    assert is_used()
    (base / "native" / "name").write_bytes(content)
    assert cache.read("name") is None
    assert is_used()


@pytest.mark.parametrize("text", ["/proc/nothing/here", "/dev/null", "a\0b", __file__])
def test_no_folder_is_said_once(text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(cache, "_said", set())
    monkeypatch.setattr(cache.config, "cache_directory", lambda: Path(text))
    with caplog.at_level(logging.WARNING):
        assert not is_used()
        assert not is_used()
    assert sum("compiled code is not kept" in x.message for x in caplog.records) == 1
    assert "CHAINRULE_CACHE" in caplog.text


PROGRAM = """
import os, pwd
def none(*arguments): raise KeyError("no entry")
if NONE: pwd.getpwuid = none
import numpy as np, chainrule as cr
for i in range(3): print(float(cr.compile(lambda x: cr.sum(x * 2 + i))(np.ones(3, "f4"))))
"""


@needs_owners
@pytest.mark.parametrize("home", [None, "", "relative", "/proc/nothing", "/dev/null"])
def test_without_a_home(home: str | None, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME", "CHAINRULE_CACHE")}
    environment |= {} if home is None else {"HOME": home}
    program = PROGRAM.replace("NONE", str(home is None))
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True,
                          text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == ["6.0", "9.0", "12.0"]
    assert done.stderr.count("compiled code is not kept") == 1
    assert not list(tmp_path.iterdir())


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAINRULE_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert config.cache_directory() == Path("/somewhere/.cache/chainrule") or not private.HAS_OWNERS
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert config.cache_directory() == Path("/elsewhere/chainrule")


# ---- size

def names(base: Path) -> list[str]:
    """The entries."""
    return sorted(x.name for x in (base / "native").iterdir())


def tidy(base: Path, size: int) -> None:
    """Tidy up now."""
    with private.Folder(base / "native") as folder:
        cache.tidy(folder, size)


def test_what_was_not_used_for_the_longest_time_goes_first(base: Path) -> None:
    for i, name in enumerate("abcd"):
        cache.write(name, [b"x" * 1000])
        os.utime(base / "native" / name, (1000 + i, 1000 + i))
    cache._used.clear()
    assert cache.read("a") is not None  # used now
    tidy(base, 2500)
    assert names(base) == ["a", "d"]
    tidy(base, 0)
    assert names(base) == []


def test_the_size_holds_while_entries_are_written(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE_SIZE", "1")
    monkeypatch.setattr(cache, "TIDY_EVERY", 5)
    for i in range(40):
        cache.write(f"{i}", [b"x" * 100_000])
    assert sum(x.stat().st_size for x in (base / "native").iterdir()) < 16 * 100_000


@needs_owners
def test_what_killed_processes_left_goes(base: Path) -> None:
    assert is_used()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f"a.{dead.pid}.0.part", "b.part", f"c.{os.getpid()}.0.part", "d.part", "tmpx1"):
        (base / "native" / name).write_bytes(b"half")
    os.utime(base / "native" / "d.part", (1000, 1000))
    before = [x for x in names(base) if "part" not in x and "tmp" not in x]
    tidy(base, 1 << 20)
    assert names(base) == sorted([*before, "b.part", f"c.{os.getpid()}.0.part"])


def test_a_full_disk(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    assert is_used()
    before = names(base)
    monkeypatch.setattr(private.os, "replace", full)
    cache.write("more", CODE)
    assert cache.read("more") is None
    assert names(base) == before
