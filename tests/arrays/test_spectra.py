# SPDX-License-Identifier: Apache-2.0
"""Spectra of sounds over time: the power by NumPy's FFT, filters by their definition, all of it as librosa has it, and
derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ChainruleError
from chainrule.signal import log_mel, mel_filters, mfcc, power_spectrogram
from chainrule.testing import check_gradient

RATE = 8000


def sound(n: int = 1500, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(n) / RATE
    return np.sin(2 * np.pi * 440 * t) + 0.3 * np.sin(2 * np.pi * 1500 * t**2) + 0.01 * rng.standard_normal(n)


@pytest.mark.parametrize(("size", "hop", "centre"),
                         [(256, None, True), (256, 100, False), (200, 50, True), (15, 4, True)])
def test_power_is_that_of_the_fft(size: int, hop: int | None, centre: bool) -> None:
    x = np.stack([sound(seed=0), sound(seed=1)])
    found = power_spectrogram(x, size, hop, centre).numpy()
    window = np.hanning(size + 1)[:-1]
    padded = np.pad(x, ((0, 0), (size // 2, size // 2))) if centre else x
    step = hop or size // 4
    frames = [padded[:, i:i + size] for i in range(0, padded.shape[1] - size + 1, step)]
    expected = np.abs(np.fft.rfft(np.stack(frames, 1) * window)) ** 2
    assert found.shape == (2, len(frames), size // 2 + 1)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_a_tone_is_in_its_band() -> None:
    x = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    assert power_spectrogram(x, 256).numpy()[20].argmax() == 1000 * 256 // RATE


@pytest.mark.parametrize(("rate", "size", "bands", "low", "high"),
                         [(8000, 256, 40, 0.0, None), (22050, 2048, 128, 0.0, None), (16000, 512, 64, 20.0, 7600.0)])
def test_filters_are_librosas(rate: int, size: int, bands: int, low: float, high: float | None) -> None:
    librosa = pytest.importorskip("librosa")
    expected = librosa.filters.mel(sr=rate, n_fft=size, n_mels=bands, fmin=low, fmax=high, dtype=np.float64).T
    np.testing.assert_allclose(mel_filters(rate, size, bands, low, high), expected, rtol=1e-9, atol=1e-15)


def test_filters_have_unit_area_and_meet_at_their_edges() -> None:
    filters = mel_filters(8000, 4096, 30)
    np.testing.assert_allclose(filters.sum(axis=0) * 8000 / 4096, 1, rtol=0.02)
    inner = filters[100:-100] * (np.diff(np.flatnonzero(filters.sum(axis=1) > 0)[[0, -1]]) > 0)
    assert ((inner > 0).sum(axis=1) <= 2).all()


def test_spectra_are_librosas() -> None:
    librosa = pytest.importorskip("librosa")
    x = sound().astype("float32")
    mel = librosa.feature.melspectrogram(y=x, sr=RATE, n_fft=256, hop_length=64, n_mels=40)
    np.testing.assert_allclose(log_mel(x, RATE, 256, 64, 40), librosa.power_to_db(mel, top_db=None).T, atol=1e-2)
    cepstra = librosa.feature.mfcc(y=x.astype("float64"), sr=RATE, n_mfcc=13, n_fft=256, hop_length=64, n_mels=40)
    np.testing.assert_allclose(mfcc(x.astype("float64"), RATE, 13, 256, 64, 40), cepstra.T, rtol=1e-6, atol=1e-6)


def test_cepstra_are_the_orthonormal_cosine_transform() -> None:
    fft = pytest.importorskip("scipy.fft")
    x = sound()
    loud = log_mel(x, RATE, 256, 64, 32).numpy()
    expected = fft.dct(np.maximum(loud, loud.max() - 80), type=2, norm="ortho", axis=-1)[:, :20]
    np.testing.assert_allclose(mfcc(x, RATE, 20, 256, 64, 32), expected, rtol=1e-9, atol=1e-9)


def test_compiled_and_derivatives() -> None:
    x = sound(120)
    run = cr.compile(lambda x: log_mel(x, RATE, 32, 16, 8))
    np.testing.assert_allclose(run(x), log_mel(x, RATE, 32, 16, 8), rtol=1e-9)
    check_gradient(lambda x: cr.sum(log_mel(x, RATE, 32, 16, 8)), x, order=1)


@pytest.mark.parametrize("wrong", [lambda: power_spectrogram(np.zeros(10), 16, centre=False),
                                   lambda: power_spectrogram(np.zeros(0)), lambda: power_spectrogram(1.0),
                                   lambda: power_spectrogram(np.zeros(10), 0),
                                   lambda: power_spectrogram(np.zeros(10), 16, -1),
                                   lambda: mel_filters(8000, low=5000), lambda: mel_filters(8000, high=5000),
                                   lambda: mel_filters(0), lambda: mel_filters(8000, bands=0),
                                   lambda: mfcc(np.zeros(100), 8000, count=70), lambda: log_mel("x", 8000)])
def test_what_is_no_sound_or_no_setting(wrong: object) -> None:
    with pytest.raises(ChainruleError):
        wrong()  # type: ignore[operator]
