"""Speech in WAV files, by pocketsphinx: the default that needs no download, and English only.

Measured on synthetic speech its open vocabulary gets most words wrong (68-90 % word error), so treat the text as a hint
of what a caller wants; for dictation a larger recogniser is needed. Audio is mixed to one channel and resampled to the
16 kHz the acoustic model was trained on.
"""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tulou.core.errors import DataError
from tulou.core.extras import load_extra
from tulou.data.collect.piece import Piece

_RATE_HZ = 16_000
_MAX_SECONDS = 3600.0
_PIECE_SECONDS = 60.0


def read_audio(path: Path) -> list[Piece]:
    """One piece for each minute or so with speech in it.

    Raises `DataError` for audio that is no PCM WAV or has no words in it.
    """
    sphinx = load_extra("pocketsphinx", "speech", "recognising speech")
    samples = _mono_16khz(path)
    decoder = sphinx.Decoder(samprate=_RATE_HZ, loglevel="FATAL")
    heard: list[tuple[float, float, str]] = []  # start and end in seconds, words
    segmenter = sphinx.Segmenter(sample_rate=_RATE_HZ)
    for segment in segmenter.segment(io.BytesIO(samples.tobytes())):
        decoder.start_utt()
        decoder.process_raw(segment.pcm, full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        if hypothesis is not None and hypothesis.hypstr.strip():
            heard.append((segment.start_time, segment.end_time, hypothesis.hypstr.strip()))
    if not heard:
        raise DataError("no speech was recognised in this recording")
    return [
        Piece(
            f"seconds={group[0][0]:.0f}-{group[-1][1]:.0f}", path.stem, ". ".join(words for _, _, words in group) + "."
        )
        for group in _grouped(heard)
    ]


def _grouped(heard: list[tuple[float, float, str]]) -> list[list[tuple[float, float, str]]]:
    """Stretches of speech together, as long as they fit into one piece."""
    groups: list[list[tuple[float, float, str]]] = []
    for stretch in heard:
        if groups and stretch[1] - groups[-1][0][0] <= _PIECE_SECONDS:
            groups[-1].append(stretch)
        else:
            groups.append([stretch])
    return groups


def _mono_16khz(path: Path) -> NDArray[np.int16]:
    try:
        with wave.open(str(path), "rb") as recording:
            rate, width, channels = recording.getframerate(), recording.getsampwidth(), recording.getnchannels()
            if recording.getnframes() / rate > _MAX_SECONDS:
                raise DataError(f"is longer than {_MAX_SECONDS / 60:.0f} minutes; split it")
            raw = recording.readframes(recording.getnframes())
    except (wave.Error, EOFError) as err:
        raise DataError(f"is not a PCM WAV file: {err}") from err
    if width not in (1, 2, 4):
        raise DataError(f"has {8 * width}-bit samples; convert it to 16-bit PCM")
    raw = raw[: len(raw) // (width * channels) * width * channels]
    signal = np.frombuffer(raw, dtype={1: "u1", 2: "<i2", 4: "<i4"}[width]).astype(np.float64)
    signal = signal - 128 if width == 1 else signal
    signal = signal.reshape(-1, channels).mean(axis=1) / 2 ** (8 * width - 1)  # (samples,), -1..1
    return (np.clip(_resample(signal, rate), -1, 1) * 32767).astype("<i2")


def _resample(signal: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """To 16 kHz, by linear interpolation after a windowed-sinc low pass where the rate goes down."""
    if rate_hz == _RATE_HZ or len(signal) == 0:
        return signal
    if rate_hz > _RATE_HZ:
        cutoff = 0.45 * _RATE_HZ / rate_hz  # of the sampling rate, just under the new Nyquist frequency
        taps = np.arange(-32, 33)
        kernel = 2 * cutoff * np.sinc(2 * cutoff * taps) * np.hamming(len(taps))
        signal = np.convolve(signal, kernel / kernel.sum(), mode="same")
    times = np.arange(int(len(signal) * _RATE_HZ / rate_hz)) * (rate_hz / _RATE_HZ)
    resampled: NDArray[np.float64] = np.interp(times, np.arange(len(signal)), signal)
    return resampled
