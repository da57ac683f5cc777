"""`llamafactory-gaze transcribe`: recorded descriptions become text with word times."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llamafactory_gaze.cli.common import errors_as_sentences


def transcribe(
    recordings: Annotated[
        Path,
        typer.Argument(
            metavar="RECORDINGS",
            help="CSV, TSV or Parquet with the columns image, participant and audio, a file name; others are kept.",
        ),
    ],
    audio: Annotated[Path, typer.Option(help="Folder of the recordings, of any usual sound format.")],
    output: Annotated[Path, typer.Option(help="The transcripts, a JSON file: give it to `dataset --descriptions`.")],
    model: Annotated[
        str, typer.Option(help="A Whisper model: a folder, or a name on the Hub.")
    ] = "openai/whisper-large-v3-turbo",
    language: Annotated[
        str | None, typer.Option(help="What is spoken, e.g. en. Default: guessed for each recording.")
    ] = None,
) -> None:
    """Transcribe recorded descriptions on this machine, with the time of every word.

    A call after an interruption goes on where it stopped.

    \b
    Example:
      llamafactory-gaze transcribe recordings.csv --audio recordings --language en --output transcripts.json
    """
    from rich.console import Console
    from rich.progress import track

    from llamafactory_gaze.data.speech import transcription
    from llamafactory_gaze.data.speech.recognition import Recogniser
    from llamafactory_gaze.data.tables import DataError

    console = Console(stderr=True)
    with errors_as_sentences(DataError):
        rows = transcription.transcribe(
            recordings,
            audio,
            output,
            lambda: Recogniser(model, language),
            lambda items: track(items, "Transcribing", console=console),
        )
    Console(highlight=False).print("\n".join(transcription.summary(rows, output)), markup=False, soft_wrap=True)
