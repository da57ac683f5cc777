"""How a saliency map travels with its image through LLaMA-Factory: as a fragment of the image's path.

LLaMA-Factory carries `images` from the data set to the multimodal plug-in and drops every other column. A data set of
files has a list of paths, one with embedded images a list of `{"bytes", "path"}`; Arrow joins gaze data with ordinary
data only if both have the same type. So the map is written behind the path, which both have:

    images/scene.jpg  and  maps/scene.png    ->  images/scene.jpg#saliency=maps/scene.png
    {"bytes": b"...", "path": "scene.jpg"}   ->  {"bytes": b"...", "path": "scene.jpg#saliency=maps/scene.png"}
    a map that is embedded itself            ->  ...#saliency=data:;base64,iVBORw0KGgo...
"""

import base64
from io import BytesIO
from typing import Any

from PIL import Image


MARK = "#saliency="
_EMBEDDED = "data:;base64,"


def attach(image: str | dict[str, Any], saliency: str | bytes) -> str | dict[str, Any]:
    """Joins a map (a path, or the bytes of an image file) to an image (a path, or `{"bytes", "path"}`)."""
    if isinstance(saliency, bytes):
        saliency = _EMBEDDED + base64.b64encode(saliency).decode()
    if isinstance(image, dict):
        return {**image, "path": (image.get("path") or "") + MARK + saliency}
    return image + MARK + saliency


def detach(image: Any) -> tuple[Any, str | bytes | None]:
    """Takes an image of any kind apart into the image as LLaMA-Factory knows it and its map, None if it has none."""
    if isinstance(image, dict):
        path, saliency = detach(image.get("path"))
        return {**image, "path": path or None}, saliency
    if not isinstance(image, str) or MARK not in image:
        return image, None
    image, _, saliency = image.rpartition(MARK)
    if saliency.startswith(_EMBEDDED):
        return image, base64.b64decode(saliency.removeprefix(_EMBEDDED))
    return image, saliency


def as_file(image: Image.Image) -> bytes:
    """An image that `datasets` has decoded as the bytes of a PNG file, which loses nothing."""
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
