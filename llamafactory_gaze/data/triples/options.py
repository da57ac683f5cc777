"""What the data set builder is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llamafactory_gaze.data.maps.options import MapOptions
from llamafactory_gaze.data.triples.exclusions import Rules
from llamafactory_gaze.data.triples.split import By


@dataclass(frozen=True)
class Statements:
    """What only the people who made the recordings can say; None is shown as not stated."""

    consent: str | None = None
    licence: str | None = None
    cite: str | None = None
    contact: str | None = None


@dataclass(frozen=True)
class DatasetOptions:
    """What `llamafactory-gaze dataset` is asked for; its --help explains each."""

    images: Path
    descriptions: Path
    name: str
    dataset_dir: Path
    fixations: Path | None = None
    making: MapOptions = field(default_factory=MapOptions)  # how maps are made of the fixations
    maps_from: Path | None = None  # or the folder of ready-made maps
    jobs: int = 1
    prompt: str = "Describe the image."
    test_fraction: float = 0.25
    seed: int = 42
    columns: Mapping[str, str] = field(default_factory=dict)
    overwrite: bool = False
    participants_table: Path | None = None
    rules: Rules = field(default_factory=Rules)
    review: Path | None = None
    clean_speech: bool = False
    fillers: Path | None = None
    split: By = "image"
    folds: int | None = None
    pseudonyms: Path | None = None
    statements: Statements = field(default_factory=Statements)
