"""Gaze in LLaMA-Factory's OpenAI-style API: alpha channels are kept, and a request may have the field `saliencies`.

    client.chat.completions.create(model=..., messages=[... one image ...],
                                   extra_body={"saliencies": ["data:image/png;base64,..."]})

`saliencies` has an entry for each image of the conversation, in order: a map in any form in which LLaMA-Factory takes
an image (a data URL, an address, a file in its safe folder), or null. LLaMA-Factory itself opens maps, as it opens
images: its checks of paths and addresses hold for both, and nothing is opened here.
"""

import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse
from llamafactory.api.protocol import URL, ChatCompletionRequest, ChatMessage, MultimodalInputItem, Role
from PIL import Image
from pydantic import Field

from llamafactory_gaze.integration.chat import gazed
from llamafactory_gaze.saliency.gazed_image import GazedImage
from llamafactory_gaze.saliency.maps import SaliencyMapError


class GazeChatCompletionRequest(ChatCompletionRequest):
    saliencies: list[str | None] | None = Field(
        default=None, description="A saliency map for each image of the conversation, in order; null for none."
    )


class KeepsAlpha:
    """Stands in for `PIL.Image` where LLaMA-Factory's API opens an image and converts it to RGB."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image

    @classmethod
    def open(cls, stream: Any) -> "KeepsAlpha":
        try:
            return cls(Image.open(stream))
        except Image.DecompressionBombError as error:
            raise HTTPException(400, f"An image or saliency map of the request is too large: {error}") from error
        except OSError as error:
            raise HTTPException(
                400, "An image or saliency map of the request cannot be read: expected the bytes of an image file."
            ) from error

    def convert(self, mode: str) -> "KeepsAlpha":
        return self


def process_request(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """LLaMA-Factory's reading of a request, with maps.

    Raises:
        HTTPException: 400, as many maps as images are expected, an image has two maps, or a map cannot be used.
    """
    (request,) = args
    messages, system, tools, images, *others = wrapped(request)
    if not isinstance(request, GazeChatCompletionRequest):
        return messages, system, tools, images, *others
    pictures = [each.image for each in images or []]
    urls = [None] * len(pictures) if request.saliencies is None else request.saliencies
    if len(urls) != len(pictures):
        raise HTTPException(
            400,
            f"`saliencies` has {len(urls)} entries and the conversation {len(pictures)} images: expected one for each "
            "image, null for an image without a map.",
        )
    named = [url for url in urls if url is not None]
    maps = iter([each.image for each in wrapped(_showing(named))[3]] if named else [])
    try:
        gazes = [
            _with_map(picture, None if url is None else next(maps)) for picture, url in zip(pictures, urls, strict=True)
        ]
    except SaliencyMapError as error:
        raise HTTPException(400, str(error)) from error
    except (OSError, SyntaxError) as error:  # PIL decodes late, and says so in either way
        raise HTTPException(400, f"An image of the request cannot be decoded: {error}") from error
    return messages, system, tools, gazes or None, *others


def _with_map(picture: Image.Image, saliency: Image.Image | None) -> GazedImage:
    own = gazed(picture)
    if saliency is None:
        return own
    if own.saliency is not None:
        raise HTTPException(400, "An image has an alpha channel and an entry in `saliencies`: send one of them.")
    return gazed(GazedImage(own.image, saliency))


def _showing(urls: list[str]) -> ChatCompletionRequest:
    """A request that shows maps as images, for LLaMA-Factory to open."""
    items = [MultimodalInputItem(type="image_url", image_url=URL(url=url)) for url in urls]
    return ChatCompletionRequest(model="", messages=[ChatMessage(role=Role.USER, content=items)])


async def stream(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> AsyncGenerator[str, None]:
    """LLaMA-Factory's streamed answer; what is wrong with a request is said in the stream, which has begun by then.

    Clients know such a piece as an error; without it they see a connection that breaks.
    """
    try:
        async for piece in wrapped(*args, **kwargs):
            yield piece
    except HTTPException as error:
        yield json.dumps(_as_openai(error))


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that cannot be met, with its reason where FastAPI's and where OpenAI's clients look."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail, **_as_openai(error)}, error.status_code, error.headers)


def _as_openai(error: HTTPException) -> dict[str, Any]:
    return {"error": {"message": error.detail, "type": "invalid_request_error", "code": error.status_code}}
