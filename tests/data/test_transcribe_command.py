"""`llamafactory-gaze transcribe` on made-up sound, by a tiny random Whisper: all of transformers' own path is run.

What such a model writes is noise; that a trained one writes what was said is Whisper's own claim, and not tested here.
"""

import json
import wave

import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.data.speech import recognition as speech_recognition
from llamafactory_gaze.data.speech.recognition import INAUDIBLE, RATE, read_audio
from llamafactory_gaze.data.tables import DataError


END, START, ENGLISH, TRANSLATE, TRANSCRIBE = (
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>"
)  # fmt: skip
PREVIOUS, NO_TIMES = "<|startofprev|>", "<|notimestamps|>"


@pytest.fixture(scope="module")
def whisper(tmp_path_factory) -> str:
    letters = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = WhisperTokenizer(
        vocab=letters, merges=[], **dict.fromkeys(("unk_token", "bos_token", "eos_token"), END)
    )
    times = [f"<|{0.02 * i:.2f}|>" for i in range(1501)]
    special = [START, ENGLISH, TRANSLATE, TRANSCRIBE, "<|startoflm|>", PREVIOUS, "<|nospeech|>", NO_TIMES]
    tokenizer.add_tokens(special + times, special_tokens=True)
    of = tokenizer.convert_tokens_to_ids
    ends = {"pad_token_id": of(END), "bos_token_id": of(END), "eos_token_id": of(END)}
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer), num_mel_bins=8, d_model=32, max_target_positions=64,
            encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=32, decoder_ffn_dim=32, decoder_start_token_id=of(START), **ends,
        )
    )  # fmt: skip
    model.generation_config = GenerationConfig(decoder_start_token_id=of(START), max_length=24, **ends)
    for name, value in {
        "alignment_heads": [[0, 0], [0, 1]],
        "no_timestamps_token_id": of(NO_TIMES),
        "prev_sot_token_id": of(PREVIOUS),
        "is_multilingual": True,
        "lang_to_id": {ENGLISH: of(ENGLISH)},
        "task_to_id": {"transcribe": of(TRANSCRIBE), "translate": of(TRANSLATE)},
        "max_initial_timestamp_index": 50,
    }.items():
        setattr(model.generation_config, name, value)
    folder = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(feature_size=8), tokenizer).save_pretrained(folder)
    return str(folder)


def write_sound(path, samples: np.ndarray, rate: int = 44_100) -> None:
    """samples: (n,) or (n, channels) in [-1, 1]"""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def tone(seconds: float, rate: int = 44_100, hertz: float = 440) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def case(tmp_path):
    """A table of three recordings, the second of them silent."""
    (tmp_path / "sound").mkdir()
    for name, samples in (("a.wav", tone(1)), ("b.wav", 0 * tone(1)), ("c.wav", tone(1, hertz=700))):
        write_sound(tmp_path / "sound" / name, samples)
    rows = "i1.png,p1,a.wav,quiet\ni1.png,p2,b.wav,\ni2.png,p1,c.wav,loud\n"
    (tmp_path / "recordings.csv").write_text("image,participant,audio,room\n" + rows)
    return tmp_path


def run(folder, model, *more):
    command = ["transcribe", folder / "recordings.csv", "--audio", folder / "sound", "--language", "en"]
    command += ["--model", model, "--output", folder / "transcripts.json", *more]
    return CliRunner().invoke(app, [str(word) for word in command])


def test_transcripts_with_words_and_times(case, whisper):
    result = run(case, whisper)
    assert result.exit_code == 0, result.output
    rows = json.loads((case / "transcripts.json").read_text())
    keys = ["image", "participant", "audio", "room", "text", "words", "level_dbfs", "transcribed_by"]
    assert [list(row) for row in rows] == [keys] * 3
    assert [row["room"] for row in rows] == ["quiet", "", "loud"]
    assert (rows[1]["text"], rows[1]["words"], rows[1]["level_dbfs"]) == (INAUDIBLE, [], -120)
    assert rows[0]["level_dbfs"] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)
    assert rows[0]["text"] and rows[0]["words"]
    assert all(0 <= word["start"] <= word["end"] <= 30 for word in rows[0]["words"])
    assert "language en" in rows[0]["transcribed_by"]
    assert "No speech in 1 of them" in result.stdout and "b.wav" in result.stdout
    assert sorted(path.name for path in case.iterdir()) == ["recordings.csv", "sound", "transcripts.json"]


def test_an_interrupted_run_goes_on_where_it_stopped(case, whisper, monkeypatch):
    assert run(case, whisper).exit_code == 0
    undisturbed = (case / "transcripts.json").read_bytes()
    (case / "transcripts.json").unlink()

    heard = []
    transcribe = speech_recognition.Recogniser.__call__

    def interrupted(self, samples):
        if len(heard) == 2:
            raise KeyboardInterrupt
        heard.append(len(samples))
        return transcribe(self, samples)

    monkeypatch.setattr(speech_recognition.Recogniser, "__call__", interrupted)
    assert run(case, whisper).exit_code != 0 and not (case / "transcripts.json").exists()
    heard.clear()
    assert run(case, whisper).exit_code == 0
    assert len(heard) == 1 and (case / "transcripts.json").read_bytes() == undisturbed


def test_sound_of_any_rate_and_number_of_channels(tmp_path):
    both = np.stack([tone(0.5, 22_050), 0.5 * tone(0.5, 22_050)], axis=1)
    write_sound(tmp_path / "stereo.wav", both, 22_050)
    samples = read_audio(tmp_path / "stereo.wav")
    assert samples.shape == (RATE // 2,) and samples.dtype == np.float32
    expected = 0.75 * tone(0.5, RATE)
    assert np.abs(samples - expected)[100:-100].max() < 0.01


def test_a_playlist_opens_no_other_file(tmp_path):
    write_sound(tmp_path / "secret.wav", tone(1))
    lines = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n"
    for name in ("list.m3u8", "list.wav"):
        (tmp_path / name).write_text(lines)
        with pytest.raises(DataError, match="cannot be read as a recording"):
            read_audio(tmp_path / name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("i3.png,p1,none.wav,", "line 5: the recording none.wav is not in"),
        ("i3.png,p1,../recordings.csv,", "is not in"),
        ("i3.png,,a.wav,", "line 5: the column participant is empty"),
        ("i3.png,p1,broken.wav,", "broken.wav cannot be read as a recording"),
    ],
)
def test_a_bad_row_is_named(case, whisper, line, message):
    (case / "sound/broken.wav").write_bytes((case / "sound/a.wav").read_bytes()[:30])
    with (case / "recordings.csv").open("a") as file:
        file.write(line + "\n")
    result = run(case, whisper)
    assert result.exit_code == 1 and message in result.stderr and "Traceback" not in result.output
    assert not (case / "transcripts.json").exists()


def test_a_model_that_is_none_is_named(case, tmp_path):
    result = run(case, str(tmp_path / "nothing"))
    assert result.exit_code == 1 and "nothing cannot be loaded" in result.stderr
