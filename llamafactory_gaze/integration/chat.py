"""Gaze in LLaMA-Factory's `chat`, `webchat` and `api`: how an image of a conversation gets its map.

    an image with an alpha channel    the channel is the map (`saliency/gazed_image.py`)
    `chat`                            <image photo.jpg> or <image photo.jpg map.png> in a message
    `api`                             the field `saliencies` of a request (`api.py`)
    Python's ChatModel                images=["photo.jpg#saliency=map.png"], see `references.py`

An image without any of them is seen as the stock model sees it.
"""

import re
import shlex
from collections.abc import Generator
from typing import Any

from llamafactory.chat.chat_model import ChatModel
from llamafactory.extras.constants import IMAGE_PLACEHOLDER

from llamafactory_gaze.integration.references import as_image, detach
from llamafactory_gaze.modeling.processing_qwen2_5_vl_gaze import map_array
from llamafactory_gaze.saliency.gazed_image import GazedImage, gaze_in_alpha
from llamafactory_gaze.saliency.maps import check_aspect_ratio


_REFERENCE = re.compile(r"<image\s+([^<>]+)>")
_USAGE = "To show an image write <image photo.jpg>, with its saliency map <image photo.jpg map.png>."


def sees_gaze(engine: Any) -> bool:
    """Whether an engine of LLaMA-Factory's holds a gaze model."""
    return hasattr(getattr(engine, "processor", None), "gaze_fusion")


def gazed(image: Any) -> GazedImage:
    """An image of a conversation, in any form that LLaMA-Factory takes, opened and with the map that it brings, if any.

    Raises:
        SaliencyMapError: the map cannot be read, or has another aspect ratio than the image.
        OSError: the image cannot be opened.
    """
    image, saliency = detach(image)
    opened = as_image(image)
    pair = gaze_in_alpha(opened) if saliency is None else GazedImage(opened, saliency)
    if pair.saliency is None:
        return pair
    values = map_array(pair.saliency)
    check_aspect_ratio(values.shape[::-1], opened.size)
    return GazedImage(pair.image, values)


class TerminalChat(ChatModel):
    """The model of `llamafactory-cli chat`, whose messages are text alone: with gaze they may name images and maps."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if sees_gaze(self.engine):
            print(_USAGE)

    def stream_chat(self, messages: list[dict[str, str]], *args: Any, **kwargs: Any) -> Generator[str, None, None]:
        if not sees_gaze(self.engine):
            yield from super().stream_chat(messages, *args, **kwargs)
            return
        try:
            texts, images = named_images([message["content"] for message in messages])
            shown = [{**message, "content": text} for message, text in zip(messages, texts, strict=True)]
            yield from super().stream_chat(shown, *args, images=images or None, **kwargs)
        except ValueError as error:
            # The conversation goes on; what could not be shown must not stand in it as an image.
            messages[-1]["content"] = messages[-1]["content"].replace("<image", "<no image")
            yield f"[{error}]"


def named_images(texts: list[str]) -> tuple[list[str], list[GazedImage]]:
    """Takes `<image photo.jpg map.png>` out of texts.

    Returns:
        the texts with LLaMA-Factory's placeholder in its place, and the images in order.

    Raises:
        ValueError: an image is named without a file or with more than two, it cannot be opened, or its map cannot be
            used.
    """
    if any(IMAGE_PLACEHOLDER in text for text in texts):
        raise ValueError(_USAGE)
    images = []

    def show(match: re.Match[str]) -> str:
        files = shlex.split(match[1])
        if len(files) > 2:
            raise ValueError(f"{match[0]} names {len(files)} files. {_USAGE} Names with spaces stand in quotes.")
        try:
            images.append(gazed(GazedImage(*files)))
        except OSError as error:
            raise ValueError(f"{files[0]} cannot be opened as an image: {error.strerror or error}.") from error
        return IMAGE_PLACEHOLDER

    return [_REFERENCE.sub(show, text) for text in texts], images
