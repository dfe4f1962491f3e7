"""Speech in recordings: by a Whisper model where the source names one, else by pocketsphinx, which needs no download.

Pocketsphinx knows English only, and its open vocabulary is weak: short plain sentences come out right, free speech with
every second word wrong or worse. So the text is a hint of what a caller wants; dictation needs the larger recogniser.
Audio is mixed to one channel and resampled to the 16 kHz of both; PCM WAV is read here, everything else by PyAV. For
pocketsphinx it is given a noise floor where it has none, without which synthetic speech comes out as nonsense.
"""

from __future__ import annotations

import io
import wave
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tulou.core.errors import DataError
from tulou.core.extras import load_extra
from tulou.data.collect.piece import Piece, file_title
from tulou.data.collect.speech import recognise_speech

_RATE_HZ = 16_000
_MAX_SECONDS = 1800.0  # for pocketsphinx
_MAX_SECONDS_WHISPER = 4 * 3600.0
_PIECE_SECONDS = 60.0
_SHORTEST_SECONDS = 0.2
_MARGIN_SECONDS = 0.3  # around detected speech, whose first consonant the detector tends to miss
_FRAME = _RATE_HZ // 50
_NOISE_FLOOR = 30.0  # of 32768, -61 dB; of 3, 10, 30 and 100 the one with the fewest wrong words
_HEADROOM = 0.7


def read_audio(path: Path, speech_model: Path | None = None) -> list[Piece]:
    """One piece for each half minute or minute with speech in it.

    Raises `DataError` for what is no recording or has no words in it.
    """
    samples = _mono_16khz(path, _MAX_SECONDS if speech_model is None else _MAX_SECONDS_WHISPER)
    if speech_model is not None:
        return recognise_speech(samples, speech_model, file_title(path))
    return _english(samples, file_title(path))


def _english(samples: NDArray[np.int16], title: str) -> list[Piece]:
    sphinx = load_extra("pocketsphinx", "speech", "recognising speech")
    samples = _with_noise_floor(samples)
    decoder = sphinx.Decoder(samprate=_RATE_HZ, cmn="batch", loglevel="FATAL")
    pieces = []
    for start, end in _stretches(sphinx, samples):
        decoder.start_utt()
        decoder.process_raw(samples[int(start * _RATE_HZ) : int(end * _RATE_HZ)].tobytes(), full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        if hypothesis is not None and hypothesis.hypstr.strip():
            text = hypothesis.hypstr.strip()
            pieces.append(Piece(f"seconds={start:.0f}-{end:.0f}", title, text[0].upper() + text[1:] + "."))
    if not pieces:
        raise DataError("no speech was recognised in this recording")
    return pieces


def _stretches(sphinx: Any, samples: NDArray[np.int16]) -> list[tuple[float, float]]:
    """Where there is speech, in seconds; neighbours together, as long as they fit into one piece."""
    whole = len(samples) / _RATE_HZ
    if whole < _SHORTEST_SECONDS:
        return []
    if whole <= _PIECE_SECONDS:
        return [(0.0, whole)]
    found: list[tuple[float, float]] = []
    for segment in sphinx.Segmenter(sample_rate=_RATE_HZ).segment(io.BytesIO(samples.tobytes())):
        start, end = max(0.0, segment.start_time - _MARGIN_SECONDS), min(whole, segment.end_time + _MARGIN_SECONDS)
        if found and end - found[-1][0] <= _PIECE_SECONDS:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _with_noise_floor(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """Faint noise where the pauses are digitally silent, because the acoustic model has only heard real rooms."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64)
    levels = np.sqrt((frames**2).mean(axis=1))  # RMS of each 20 ms
    if len(levels) and np.quantile(levels, 0.05) >= _NOISE_FLOOR:
        return samples
    noise = np.random.default_rng(0).normal(0, _NOISE_FLOOR, len(samples))  # seeded: the same text in every run
    return (samples * _HEADROOM + noise).clip(-32768, 32767).astype("<i2")


def _mono_16khz(path: Path, max_seconds: float) -> NDArray[np.int16]:
    if path.suffix.lower() == ".wav":
        try:
            return _pcm(path, max_seconds)
        except (wave.Error, EOFError) as err:
            if find_spec("av") is None:
                raise DataError(f"is not a PCM WAV file: {err}") from err
    return _decoded(path, max_seconds)


def _pcm(path: Path, max_seconds: float) -> NDArray[np.int16]:
    with wave.open(str(path), "rb") as recording:
        rate, width, channels = recording.getframerate(), recording.getsampwidth(), recording.getnchannels()
        if rate <= 0 or recording.getnframes() / rate > max_seconds:
            raise DataError(_too_long(max_seconds))
        raw = recording.readframes(recording.getnframes())
    if width not in (1, 2, 4):
        raise wave.Error(f"{8 * width}-bit samples")
    raw = raw[: len(raw) // (width * channels) * width * channels]
    signal = np.frombuffer(raw, dtype={1: "u1", 2: "<i2", 4: "<i4"}[width]).astype(np.float64)
    signal = signal - 128 if width == 1 else signal
    signal = signal.reshape(-1, channels).mean(axis=1) / 2 ** (8 * width - 1)  # (samples,), -1..1
    return (np.clip(_resample(signal, rate), -1, 1) * 32767).astype("<i2")


def _decoded(path: Path, max_seconds: float) -> NDArray[np.int16]:
    """The first audio track of any file that FFmpeg's libraries know, by PyAV."""
    av = load_extra("av", "speech", f"reading {path.suffix.lower()} recordings")
    parts: list[NDArray[np.int16]] = []
    count = 0
    try:
        with av.open(str(path), mode="r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise DataError("has no sound in it")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=_RATE_HZ)
            for frame in chain(container.decode(container.streams.audio[0]), (None,)):  # None: what is left
                for part in resampler.resample(frame):
                    parts.append(part.to_ndarray().reshape(-1))
                    count += len(parts[-1])
                if count > max_seconds * _RATE_HZ:
                    raise DataError(_too_long(max_seconds))
    except (av.FFmpegError, OSError, ValueError) as err:
        if not count:
            raise DataError(f"is a damaged recording, or none at all: {err}") from err
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)  # what came before the damage counts


def _too_long(max_seconds: float) -> str:
    return f"is longer than {max_seconds / 60:.0f} minutes; split it"


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
