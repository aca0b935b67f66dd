# SPDX-License-Identifier: Apache-2.0
"""Images, sound, text and series into arrays: bit for bit what Pillow, SciPy, Python and NumPy read."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import data
from chainrule.errors import ArgumentError, DataError, ShapeError

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize(("dtype", "scale", "shift"), [(np.uint8, 128, 128), (np.int16, 2**15, 0), (np.int32, 2**31, 0),
                                                       (np.float32, 1, 0), (np.float64, 1, 0)])
@pytest.mark.parametrize("channels", [1, 2])
def test_sound_is_what_scipy_writes(tmp_path, dtype, scale, shift, channels):
    wavfile = pytest.importorskip("scipy.io.wavfile")
    shape = (1001,) if channels == 1 else (1001, 2)
    whole = (GENERATOR.uniform(-1, 1, shape) if np.dtype(dtype).kind == "f"
             else GENERATOR.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape))
    wavfile.write(tmp_path / "s.wav", 8000, whole.astype(dtype))
    samples, rate = data.read_sound(tmp_path / "s.wav")
    expected = ((whole.astype(dtype).astype(np.float64) - shift) / scale).astype(np.float32)
    assert rate == 8000 and samples.dtype == np.float32
    np.testing.assert_array_equal(samples, expected.reshape(1001, channels))


def test_sound_of_24_bits_and_unknown_chunks(tmp_path):
    wavfile = pytest.importorskip("scipy.io.wavfile")
    whole = GENERATOR.integers(-(2**23), 2**23, 500)
    body = b"".join(struct.pack("<i", int(v))[:3] for v in whole)
    chunks = (
        b"fmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 44100, 44100 * 3, 3, 24)
        + b"LIST"
        + struct.pack("<I", 3)
        + b"abc\0"
        + b"data"
        + struct.pack("<I", len(body))
        + body
    )
    (tmp_path / "s.wav").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    samples, rate = data.read_sound(tmp_path / "s.wav")
    np.testing.assert_array_equal(samples[:, 0] * 2**23, whole)
    assert rate == 44100
    np.testing.assert_array_equal(samples[:, 0], (wavfile.read(tmp_path / "s.wav")[1] / 2.0**31).astype(np.float32))


def test_written_sound_comes_back(tmp_path):
    samples = GENERATOR.uniform(-1, 0.99, (300, 2))
    again, rate = data.read_sound(data.write_sound(tmp_path / "s.wav", samples, 16000))
    assert rate == 16000
    np.testing.assert_allclose(again, samples, atol=2**-16)
    np.testing.assert_array_equal(data.read_sound(data.write_sound(tmp_path / "t.wav", again, 16000))[0], again)
    with pytest.raises(ShapeError, match="steps and channels"):
        data.write_sound(tmp_path / "u.wav", np.zeros((2, 2, 2)), 1)


@given(cut=st.integers(0, 99))
def test_any_cut_off_sound_is_a_data_error(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("s") / "s.wav"
    data.write_sound(path, np.zeros(30), 8000)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"s\.wav"):
        data.read_sound(path)


def test_spoken_digits_are_what_scipy_reads(shared_data):
    wavfile = pytest.importorskip("scipy.io.wavfile")
    files = sorted((shared_data / "free-spoken-digits").rglob("*.wav"))[:50]
    if not files:
        pytest.skip("no recordings there")
    for file in files:
        rate, whole = wavfile.read(file)
        samples, ours = data.read_sound(file)
        np.testing.assert_array_equal(samples.reshape(whole.shape), (whole / 2.0**15).astype(np.float32))
        assert ours == rate


def test_images_are_what_pillow_reads(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = GENERATOR.integers(0, 256, (9, 7, 3)).astype(np.uint8)
    image.fromarray(pixels).save(tmp_path / "i.png")
    np.testing.assert_array_equal(data.read_image(tmp_path / "i.png"), pixels)
    np.testing.assert_array_equal(data.read_image(tmp_path / "i.png", (9, 7, 3)), pixels)
    image.fromarray(pixels[..., 0]).save(tmp_path / "g.png")
    np.testing.assert_array_equal(data.read_image(tmp_path / "g.png"), pixels[..., :1])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_text_in_any_encoding(tmp_path, encoding):
    text = "Grüße, a line\nand another: 5 £\n"
    (tmp_path / "t.txt").write_bytes(text.encode(encoding))
    assert data.read_text(tmp_path / "t.txt") == text


def test_series_are_the_numbers_of_the_file(tmp_path):
    values = GENERATOR.normal(size=(40, 3))
    lines = ["date,load,price,temperature"] + [f"2024-01-{i % 28 + 1:02d},{a!r},{b!r},{c!r}"
                                               for i, (a, b, c) in enumerate(values.tolist())]
    (tmp_path / "s.csv").write_text("\n".join(lines) + "\n")
    series = data.read_series(tmp_path / "s.csv")
    np.testing.assert_array_equal(series.values, values)
    assert series.names == ("load", "price", "temperature") and series.times[1] == "2024-01-02"
    np.testing.assert_array_equal(data.read_series(tmp_path / "s.csv", ["price"]).values, values[:, 1:2])
    with pytest.raises(DataError, match="no such column"):
        data.read_series(tmp_path / "s.csv", ["prise"])


@given(n=st.integers(5, 40), length=st.integers(1, 4), horizon=st.integers(1, 3), stride=st.integers(1, 5),
       changed=st.integers(0, 39))
def test_the_future_never_changes_a_window(n, length, horizon, stride, changed):
    if n < length + horizon:
        return
    series = np.arange(n, dtype=np.float64)
    x, y = data.windows(series, length, horizon, stride)
    starts = np.arange(0, n - length - horizon + 1, stride)
    np.testing.assert_array_equal(x[..., 0], starts[:, None] + np.arange(length))
    np.testing.assert_array_equal(y[..., 0], starts[:, None] + length + np.arange(horizon))
    other = series.copy()
    other[min(changed, n - 1):] = -1
    early = starts + length <= changed
    np.testing.assert_array_equal(data.windows(other, length, horizon, stride)[0][early], x[early])


def test_windows_that_do_not_fit_are_told():
    with pytest.raises(ArgumentError, match="no window fits"):
        data.windows(np.zeros(5), 4, 2)
    with pytest.raises(ShapeError, match="steps and columns"):
        data.windows(np.zeros((5, 2, 2)), 2)
