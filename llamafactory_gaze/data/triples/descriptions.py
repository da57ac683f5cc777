"""Spoken or written descriptions, in tables or transcripts: who said what about which image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from llamafactory_gaze.data.speech.transcripts import ENDINGS, Word, read_transcripts
from llamafactory_gaze.data.tables import DataError, Table, read_table


# The fields of a row of the data set that this project writes itself: a column of that name would be overwritten.
RESERVED = ("id", "image_id", "same_image_as", "conversations", "images", "saliencies")
PLACEHOLDER = re.compile("<(image|video|audio)>")  # LLaMA-Factory counts these in every message


@dataclass(frozen=True)
class Description:
    """One row of the table."""

    image: str  # file name, relative to the folder of images
    participant: str
    trial: str | None  # where an image was shown to somebody more than once
    text: str
    category: str | None
    normalized: str | None  # the same content in the base model's manner: the target of stage 1
    extra: dict[str, Any]  # all other columns; `words`, of a transcript, is a list with times
    where: str  # file and line, for messages

    @property
    def image_id(self) -> str:
        return str(PurePosixPath(self.image).with_suffix(""))

    @property
    def id(self) -> str:
        return "_".join(filter(None, (self.image_id, self.participant, self.trial)))


def read_descriptions(path: Path) -> list[Description]:
    """Read a table with the columns image, participant and description, and perhaps trial, category and normalized.

    Args:
        path: a table, or transcripts in JSON (see `read_transcripts`), whose timed words become the field `words`.

    Raises:
        DataError: names the first bad row: an empty cell, an image name that leaves the folder, a second row for the
            same image, participant and trial, an image with two categories, a placeholder of LLaMA-Factory in the text.
    """
    words: list[list[Word]] = []
    if path.suffix.lower() in ENDINGS:
        table, words = read_transcripts(path)
    else:
        table = read_table(path)
    table.require(("image", "participant", "description"))
    if "" in table.columns:
        raise DataError(
            f"{path} has a column without a name; name it, or remove it (pandas writes one unless index=False)."
        )
    clash = [name for name in RESERVED if name in table.columns]
    if clash:
        raise DataError(
            f"{path} has a column '{clash[0]}', a field that this command writes itself; rename the column."
        )

    descriptions: list[Description] = []
    first: dict[str, Description] = {}  # by id
    first_of_image: dict[str, Description] = {}  # by image_id
    for i in range(len(table)):
        description = _read_row(table, i)
        if any(words):
            description.extra["words"] = words[i]
        same = first.setdefault(description.id, description)
        if same is not description:
            raise DataError(
                f"{description.where} describes image {description.image} by participant {description.participant}, "
                f"but so does {same.where} ({same.image}, {same.participant}); expected one row each, with a column "
                "trial where an image is shown twice."
            )
        sibling = first_of_image.setdefault(description.image_id, description)
        if sibling.image != description.image:
            raise DataError(
                f"{description.where} names the image {description.image}, but {sibling.where} names {sibling.image}; "
                "expected names that differ in more than their ending."
            )
        if sibling.category != description.category:
            raise DataError(
                f"{description.where} gives image {description.image} the category '{description.category}', but "
                f"{sibling.where} gives it '{sibling.category}'; expected one category per image."
            )
        descriptions.append(description)
    return descriptions


def _read_row(table: Table, i: int) -> Description:
    cells = {name: column[i] for name, column in table.columns.items()}
    where = table.at(i)
    for name in ("image", "participant", "trial", "description", "category", "normalized"):
        if cells.get(name) == "":
            raise DataError(f"{where}: the column {name} is empty.")
    for name in ("description", "normalized"):
        placeholder = PLACEHOLDER.search(cells.get(name, ""))
        if placeholder:
            raise DataError(
                f"{where}: the {name} contains {placeholder[0]}, LLaMA-Factory's mark of a picture's place; remove it."
            )
    image = cells.pop("image")
    if image.startswith("/") or "\\" in image or ".." in image.split("/") or not PurePosixPath(image).name:
        raise DataError(f"{where}: the image is '{image}'; expected a file name inside the folder of images.")
    for name in ("participant", "trial"):
        if not re.fullmatch(r"[\w.-]+", cells.get(name, "-")):
            raise DataError(
                f"{where}: the {name} is '{cells[name]}', which becomes part of file names; expected letters, digits, "
                "'_', '-' and '.' only."
            )
    return Description(
        image=image,
        participant=cells.pop("participant"),
        trial=cells.pop("trial", None),
        text=cells.pop("description"),
        category=cells.pop("category", None),
        normalized=cells.pop("normalized", None),
        extra=cells,
        where=where,
    )
