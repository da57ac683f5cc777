"""Sound and video files, opened so that they can name no other file and no address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llamafactory_gaze.saliency.opening import open_picture


# Formats that hold what they show. FFmpeg also knows playlists (HLS, DASH, concat), and would open what they name.
FORMATS = (
    "wav,flac,mp3,ogg,aac,aiff,au,w64,caf,"
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,gif,ivf,h264,hevc,dv"
)


def open_media(path: str | Path) -> Any:
    """A container of PyAV, for a `with` statement.

    Raises:
        av.FFmpegError: as `av.open`; also for a file of another format than `FORMATS`.
    """
    import av  # here: it takes a while

    return av.open(str(path), options={"protocol_whitelist": "file", "format_whitelist": FORMATS})


@contextmanager
def open_video(video: str) -> Iterator[Any]:
    """The first stream of images in a file.

    Raises:
        ValueError: the file cannot be read, or holds none.
    """
    import av

    try:
        with open_media(video) as container:
            if not container.streams.video:
                raise ValueError(f"video {video} holds no moving image.")
            yield container.streams.video[0]
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"video {video} cannot be read ({error}).") from error


def frame_size(video: str | list[str]) -> tuple[int, int]:
    """(width, height) of a video's frames in pixels, from the header of the file or of each frame.

    Raises:
        ValueError: the file or a frame cannot be read, or the frames differ in size.
    """
    if isinstance(video, str):
        with open_video(video) as stream:
            return stream.width, stream.height
    sizes = {}
    for path in video:
        try:
            with open_picture(path) as frame:
                sizes[path] = frame.size
        except Exception as error:  # PIL's decoders raise nearly anything on a damaged file
            raise ValueError(f"frame {path} of a video cannot be read ({error}).") from error
    for path, size in sizes.items():
        if size != sizes[video[0]]:
            first = "x".join(map(str, sizes[video[0]]))
            raise ValueError(
                f"frame {path} is {size[0]}x{size[1]} pixels large, but the first frame of its video {first}: expected "
                "frames of one size."
            )
    return sizes[video[0]]
