"""Recorded speech to text with word times, by a Whisper model that runs on this machine (transformers)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from llamafactory_gaze.data.media import open_media
from llamafactory_gaze.data.tables import DataError


RATE = 16_000  # Hz, Whisper's
SILENCE_DBFS = -60.0  # below this level there is no speech, and Whisper would make some up
INAUDIBLE = "[inaudible]"  # what stands for a silent recording


@dataclass(frozen=True)
class Transcript:
    """What was said in a recording.

    Attributes:
        text: without outer white space; `INAUDIBLE` for a silent recording.
        words: (word, start, end) in seconds from the recording's beginning; none of a silent one.
        level_dbfs: root mean square of the samples in dB, 0 for full scale; -inf becomes -120.
    """

    text: str
    words: list[tuple[str, float, float]]
    level_dbfs: float


class Recogniser:
    """A Whisper model, loaded once.

    Args:
        model: a folder, or a name on the Hugging Face Hub, of a Whisper model that knows word times (the official ones
            do: their generation configuration has `alignment_heads`).
        language: what is spoken, for instance "en"; None lets the model guess for each recording.

    Raises:
        DataError: the model cannot be loaded, or is no Whisper model.
    """

    def __init__(self, model: str, language: str | None = None) -> None:
        import torch
        from transformers import WhisperForConditionalGeneration, pipeline
        from transformers.utils import logging

        logging.set_verbosity_error()  # notes about generation settings, for every recording
        logging.disable_progress_bar()
        try:
            self.pipeline: Any = pipeline(
                "automatic-speech-recognition", model=model, device=0 if torch.cuda.is_available() else "cpu"
            )
        except Exception as error:  # transformers raises nearly anything for a name or a folder that is no model
            raise DataError(f"The model {model} cannot be loaded ({str(error).splitlines()[0]}).") from error
        if not isinstance(self.pipeline.model, WhisperForConditionalGeneration):
            kind = type(self.pipeline.model).__name__
            raise DataError(f"The model {model} is a {kind}, expected Whisper, for example openai/whisper-small.")
        self.language = language
        self.name = f"{model}, transformers {version('transformers')}, language {language or 'guessed'}, greedy"

    def __call__(self, samples: np.ndarray) -> Transcript:
        """samples: (n,) float32 in [-1, 1] at `RATE`."""
        level = max(-120.0, 20 * float(np.log10(np.sqrt(np.mean(np.square(samples), dtype=np.float64)) + 1e-12)))
        if level < SILENCE_DBFS:
            return Transcript(INAUDIBLE, [], level)
        spoken: dict[str, Any] = {"task": "transcribe", "do_sample": False, "num_beams": 1}
        if self.language is not None:
            spoken["language"] = self.language
        found = self.pipeline({"raw": samples, "sampling_rate": RATE}, return_timestamps="word", generate_kwargs=spoken)
        words = [(chunk["text"].strip(), *chunk["timestamp"]) for chunk in found["chunks"]]
        # Whisper may leave the end of the last word open.
        ended = [(word, start, start if end is None else end) for word, start, end in words if word]
        return Transcript(found["text"].strip() or INAUDIBLE, ended, level)


def read_audio(path: Path) -> np.ndarray:
    """Read a sound file of any usual format (WAV, FLAC, MP3, M4A, Ogg, video) -> (n,) float32 at `RATE`, mixed to mono.

    Raises:
        DataError: names the file; no sound in it, damaged, or of a format that names other files.
    """
    import av

    try:
        with open_media(path) as container:
            if not container.streams.audio:
                raise DataError(f"{path} holds no sound.")
            resampler = av.AudioResampler(format="fltp", rate=RATE)
            frames = [frame for read in container.decode(audio=0) for frame in resampler.resample(read)]
            frames += resampler.resample(None)
    except av.error.FFmpegError as error:
        raise DataError(f"{path} cannot be read as a recording ({error.strerror}).") from error
    if not frames:
        raise DataError(f"{path} holds no sound.")
    # The mean of the channels, (channels, n) -> (n,): FFmpeg's own mix to mono adds floating point channels up.
    return np.concatenate([frame.to_ndarray().mean(axis=0) for frame in frames])
