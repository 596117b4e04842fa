"""Which libraries this process has loaded to make frames."""

from __future__ import annotations

import re

import av
import cv2

from framefleet.common.libraries import Libraries

MAX_TEXT = 100  # characters of a version
_CODEC = re.compile(r"^ +(JPEG|PNG|ZLib|WEBP|AVIF): +(.*?) *$", re.MULTILINE)
_TEXT = re.compile(r"(?:build-?)?(.*?) ?\(ver (.*)\)")  # build-libjpeg-turbo (ver 3.1.2-70)


def libraries() -> Libraries:
    """Their versions; the codecs' are those that OpenCV was built with."""
    codecs = {name.lower(): _codec(told) for name, told in _CODEC.findall(cv2.getBuildInformation())}
    versions = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    return Libraries(
        pyav=av.__version__,
        libavformat=versions["libavformat"],
        libavcodec=versions["libavcodec"],
        libavutil=versions["libavutil"],
        libswscale=versions["libswscale"],
        opencv=cv2.__version__,
        jpeg=codecs.get("jpeg", ""),
        png=codecs.get("png", ""),
        zlib=codecs.get("zlib", ""),
        webp=codecs.get("webp", ""),
        avif=codecs.get("avif", ""),
    )


def _codec(told: str) -> str:
    """Without the folder in which it lay where OpenCV was built."""
    found = _TEXT.fullmatch(told)
    if found is None:
        return told.rpartition("/")[2][:MAX_TEXT]
    name, version = found.groups()
    return f"{name.rpartition('/')[2]} {version}".strip()[:MAX_TEXT]
