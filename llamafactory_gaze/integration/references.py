"""How saliency maps travel with images and videos through LLaMA-Factory: as a fragment of the path.

LLaMA-Factory carries `images` and `videos` from the data set to the multimodal plug-in and drops every other column. A
data set of files has a list of paths, one with embedded images a list of `{"bytes", "path"}`; Arrow joins gaze data
with ordinary data only if both have the same type. So the map is written behind the path, which both have:

    images/scene.jpg  and  maps/scene.png    ->  images/scene.jpg#saliency=maps/scene.png
    {"bytes": b"...", "path": "scene.jpg"}   ->  {"bytes": b"...", "path": "scene.jpg#saliency=maps/scene.png"}
    a map that is embedded itself            ->  ...#saliency=data:;base64,iVBORw0KGgo...

A video has several maps, and is a path or a list of the paths of its frames; lists are written as JSON:

    clip.mp4  and  0.png, 1.png, 2.png       ->  clip.mp4#saliency=["0.png", "1.png", "2.png"]
    [a.jpg, b.jpg]  and  0.png, 1.png        ->  #frames=["a.jpg", "b.jpg"]#saliency=["0.png", "1.png"]
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from PIL import Image

from llamafactory_gaze.data.places import brief
from llamafactory_gaze.saliency.gazed_image import GazedImage


MARK = "#saliency="
FRAMES = "#frames="
_EMBEDDED = "data:;base64,"


def attach(image: str | dict[str, Any], saliency: str | bytes) -> str | dict[str, Any]:
    """Joins a map (a path, or the bytes of an image file) to an image (a path, or `{"bytes", "path"}`)."""
    if isinstance(image, dict):
        return {**image, "path": (image.get("path") or "") + MARK + _as_text(saliency)}
    return image + MARK + _as_text(saliency)


def detach(image: Any) -> tuple[Any, str | bytes | None]:
    """Takes an image of any kind apart into the image as LLaMA-Factory knows it and its map, None if it has none."""
    if isinstance(image, GazedImage):
        return image.image, image.saliency
    if isinstance(image, dict):
        path, saliency = detach(image.get("path"))
        return {**image, "path": path or None}, saliency
    if not isinstance(image, str) or MARK not in image:
        return image, None
    image, _, saliency = image.rpartition(MARK)
    return image, _as_source(saliency)


def attach_to_video(video: str | list[str], saliencies: list[str | bytes] | None) -> str:
    """Joins the maps of a video (None if it has none) to the video, a path or the paths of its frames."""
    reference = video if isinstance(video, str) else FRAMES + json.dumps(video)
    return reference if saliencies is None else reference + MARK + json.dumps([_as_text(each) for each in saliencies])


def detach_from_video(video: Any) -> tuple[Any, list[str | bytes] | None]:
    """Takes a video of any kind apart into the video as LLaMA-Factory knows it and its maps, None if it has none."""
    if not isinstance(video, str):
        return video, None
    video, mark, saliencies = video.partition(MARK)
    if video.startswith(FRAMES):
        video = json.loads(video.removeprefix(FRAMES))
    return video, [_as_source(each) for each in json.loads(saliencies)] if mark else None


def check_video(video: Any) -> None:
    """Says whether `attach_to_video` can carry a video.

    Raises:
        ValueError: it is neither a path nor a list of paths, or a name in it contains what is reserved here.
    """
    paths = video if isinstance(video, list) else [video]
    if not paths or not all(isinstance(path, str) for path in paths):
        kind = "an empty list" if not paths else "embedded" if isinstance(paths[0], dict) else type(paths[0]).__name__
        raise ValueError(
            f"a video is {kind}: expected the path of a file, or a list of the paths of its frames. Embedded videos "
            "cannot be read; write them to files."
        )
    for path in paths:
        if MARK in path:
            raise ValueError(f"the name of video {brief(path)} contains '{MARK}', which is reserved: rename the file.")


def as_image(image: Any) -> Image.Image:
    """An image without a map in any of the forms that LLaMA-Factory takes, opened."""
    if isinstance(image, dict):
        image = image["path"] if image["bytes"] is None else image["bytes"]
    if isinstance(image, Image.Image):
        return image
    return Image.open(BytesIO(image) if isinstance(image, bytes) else image)


@contextmanager
def naming_broken(images: list[Any]) -> Iterator[None]:
    """Where a decoder fails, says which of the images, without a map, it was: their pixels are read late, in workers.

    Raises:
        ValueError: an image that cannot be decoded.
    """
    try:
        yield
    except Exception:
        for image in images:
            try:
                as_image(image).load()
            except Exception as error:  # PIL's decoders raise nearly anything on a damaged file
                name = image.get("path") if isinstance(image, dict) else image if isinstance(image, str) else None
                raise ValueError(
                    f"Image {brief(name or '(embedded)')} cannot be decoded ({type(error).__name__}: {brief(error)}). "
                    "Write the file again; `llamafactory-gaze validate` finds all that are damaged."
                ) from error
        raise


def as_file(image: Image.Image) -> bytes:
    """An image that `datasets` has decoded as the bytes of a PNG file, which loses nothing."""
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _as_text(saliency: str | bytes) -> str:
    return _EMBEDDED + base64.b64encode(saliency).decode() if isinstance(saliency, bytes) else saliency


def _as_source(text: str) -> str | bytes:
    return base64.b64decode(text.removeprefix(_EMBEDDED)) if text.startswith(_EMBEDDED) else text
