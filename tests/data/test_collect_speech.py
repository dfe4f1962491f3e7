"""Recordings: whatever container they come in, whichever recogniser is asked, and the model folder it needs."""

from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
import wave
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.core.settings import SourceSettings
from tulou.data.collect import collect
from tulou.data.collect.audio import _mono_16khz
from tulou.data.collect.speech import stretches
from tulou.data.parquet import read_batches

needs_av = pytest.mark.skipif(find_spec("av") is None, reason="needs PyAV")


def gather(project: Path, **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    out = project / "out"
    summary = collect(SourceSettings(name="s", url="data/*", **settings), project, out, Silent())
    return summary, [row for batch in read_batches(out) for row in batch.to_pylist()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def tone(path: Path, seconds: float = 2.0, rate: int = 22_050) -> Path:
    count = int(seconds * rate)
    samples = (12_000 * math.sin(2 * math.pi * 440 * n / rate) for n in range(count))
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(rate)
        recording.writeframes(b"".join(struct.pack("<h", int(sample)) for sample in samples))
    return path


def encode(source: Path, target: Path, codec: str, rate: int = 48_000) -> Path:
    av: Any = pytest.importorskip("av")
    with av.open(str(source)) as inside, av.open(str(target), "w") as outside:
        stream = outside.add_stream(codec, rate=rate)
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=rate)
        stream.layout = "stereo"
        frames = [part for frame in inside.decode(audio=0) for part in resampler.resample(frame)]
        fifo = av.AudioFifo()
        for frame in [*frames, *resampler.resample(None)]:
            fifo.write(frame)
        size = stream.codec_context.frame_size or 1024
        while part := fifo.read(size, partial=True):
            for packet in stream.encode(part):
                outside.mux(packet)
        for packet in stream.encode(None):
            outside.mux(packet)
    return target


@needs_av
@pytest.mark.parametrize(
    ("ending", "codec"), [("mp3", "mp3"), ("m4a", "aac"), ("ogg", "libopus"), ("flac", "flac"), ("mp4", "aac")]
)
def test_every_container_decodes_to_the_same_sound(tmp_path: Path, ending: str, codec: str) -> None:
    plain = _mono_16khz(tone(tmp_path / "a.wav"), 60)
    coded = _mono_16khz(encode(tmp_path / "a.wav", tmp_path / f"a.{ending}", codec), 60)
    assert abs(len(coded) - len(plain)) < 0.15 * 16_000
    loudest = [
        int(np.argmax(np.abs(np.fft.rfft(samples[4000:20_000].astype(np.float64))))) for samples in (plain, coded)
    ]
    assert loudest == [440, 440]  # 16,000 samples: a bin for each Hz


@needs_av
def test_recording_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    encode(tone(tmp_path / "a.wav", seconds=4), tmp_path / "a.mp3", "mp3")
    whole = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(whole[: len(whole) // 2])
    assert 1.0 < len(_mono_16khz(tmp_path / "a.mp3", 60)) / 16_000 < 3.0


@needs_av
def test_recording_beyond_the_limit_is_refused_while_it_is_decoded(tmp_path: Path) -> None:
    encode(tone(tmp_path / "a.wav", seconds=3), tmp_path / "a.flac", "flac")
    for name in ("a.wav", "a.flac"):
        with pytest.raises(DataError, match="is longer than 0 minutes; split it"):
            _mono_16khz(tmp_path / name, 1.0)


@needs_av
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng to speak")
def test_plain_speech_in_mp3_is_recognised_and_the_summary_says_by_what(data: Path) -> None:
    sentence = "Hello. The store is closed on Monday. Please come on Tuesday."
    spoken = data.parent / "call.wav"
    subprocess.run(["espeak-ng", "-v", "en-us", "-s", "110", "-w", str(spoken), sentence], check=True)
    encode(spoken, data / "call.mp3", "mp3")
    summary, [row] = gather(data.parent)
    assert row["position"].startswith("seconds=0-")
    assert row["media_type"] == "audio/mpeg"
    assert sum(word in row["text"].casefold() for word in ("store", "closed", "monday", "please", "tuesday")) >= 3
    assert "not for dictation" in summary["remark"]


def test_sentences_join_to_half_a_minute() -> None:
    said = [(n * 7.0, n * 7.0 + 6.5, f" Sentence {n}." if n else "") for n in range(9)]
    joined = stretches(said)
    assert [(start, end) for start, end, _ in joined] == [(7.0, 34.5), (35.0, 62.5)]
    assert joined[0][2] == "Sentence 1. Sentence 2. Sentence 3. Sentence 4."
    assert stretches([(0, 1, "你好。"), (1, 2, "再见。")]) == [(0, 2, "你好。再见。")]


def test_a_speech_model_that_is_none_stops_the_work_before_it_starts(data: Path) -> None:
    (data / "a.txt").write_text("words")
    with pytest.raises(DataError, match="speech_model 'models/whisper' is no folder"):
        gather(data.parent, speech_model="models/whisper")
    folder = data.parent / "models" / "whisper"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=r"has no model\.bin"):
        gather(data.parent, speech_model="models/whisper")
    (folder / "model.bin").write_bytes(b"x")
    (folder / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"has no tokenizer\.json"):
        gather(data.parent, speech_model="models/whisper")
    assert not (data.parent / "out").exists()


def test_a_speech_model_that_cannot_be_loaded_is_told_for_the_recording(data: Path) -> None:
    pytest.importorskip("faster_whisper")
    (data / "a.txt").write_text("words")
    tone(data / "b.wav")
    folder = data.parent / "whisper"
    folder.mkdir()
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    summary, [row] = gather(data.parent, speech_model="whisper")
    assert row["uri"] == "data/a.txt"
    [failure] = summary["failed"]
    assert "cannot be loaded" in failure["reason"]


@pytest.fixture
def whisper(tmp_path: Path) -> Path:
    """A Whisper of real shape with random weights, made by the tools that make real ones; what it hears is nonsense."""
    pytest.importorskip("faster_whisper")
    transformers = pytest.importorskip("transformers")
    converters = pytest.importorskip("ctranslate2.converters")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import WhisperConfig, WhisperForConditionalGeneration, set_seed

    # The vocabulary of the multilingual models in small: bytes, then the special tokens in their order.
    letters = {char: n for n, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    languages = ["en", "zh", "de"]
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in languages)]
    special += [
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    ]
    times = [f"<|{n * 0.02:.2f}|>" for n in range(1501)]
    vocabulary = {**letters, **{token: len(letters) + n for n, token in enumerate([*special, *times])}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*special, *times])
    source = tmp_path / "transformers"
    end = vocabulary["<|endoftext|>"]
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    set_seed(0)
    config = WhisperConfig(
        vocab_size=len(vocabulary),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=end + 1,
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config.lang_to_id = {f"<|{code}|>": vocabulary[f"<|{code}|>"] for code in languages}
    model.generation_config.alignment_heads = [[0, 0]]
    model.save_pretrained(source)
    fast.save_pretrained(source)
    tokenizer.save(str(source / "tokenizer.json"))
    (source / "preprocessor_config.json").write_text(json.dumps({"feature_size": 80, "sampling_rate": 16_000}))
    folder = tmp_path / "whisper"
    converters.TransformersConverter(str(source), copy_files=["tokenizer.json", "preprocessor_config.json"]).convert(
        str(folder)
    )
    return folder


@pytest.mark.filterwarnings("ignore")  # of the converter
def test_a_whisper_folder_is_loaded_and_asked(data: Path, whisper: Path) -> None:
    (data / "a.txt").write_text("words")
    tone(data / "b.wav", seconds=3)
    summary, rows = gather(data.parent, speech_model=str(whisper))
    assert "remark" not in summary
    reasons = [failure["reason"] for failure in summary["failed"]]
    heard = [row for row in rows if row["media_type"] == "audio/wav"]
    # A tone is no speech to the voice detector; either answer shows that the model was loaded and asked.
    assert reasons == ["no speech was recognised in this recording"] or heard, (reasons, rows)


@pytest.mark.filterwarnings("ignore")  # of the converter
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng to speak")
def test_a_whisper_folder_hears_something_with_its_seconds(data: Path, whisper: Path) -> None:
    sentence = "Hello. The store is closed on Monday. Please come on Tuesday. " * 12
    subprocess.run(["espeak-ng", "-v", "en-us", "-s", "110", "-w", str(data / "call.wav"), sentence], check=True)
    _, rows = gather(data.parent, speech_model=str(whisper))
    assert rows
    assert all(row["position"].startswith("seconds=") for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)
