"""Sound and video files, opened so that they can name no other file and no address."""

from __future__ import annotations

from pathlib import Path
from typing import Any


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
