"""Processes that die at a package: one that makes it, or one that brings it to a channel.

Whoever comes by a marked point first takes the mark away and dies.
"""

import os
import signal
from functools import partial
from pathlib import Path

from django.conf import settings

from stores import failpoints

POINTS = {
    "killed while a package was made": (
        "download:after_start",
        "download:before_package",
        "download:after_package",
    ),
    "killed while a package was applied": (
        "download:after_downloaded",
        "download:before_channel_commit",
        "download:after_channel_commit",
        "download:before_delivered",
    ),
}


def mark(point: str) -> Path:
    return Path(settings.SYNCLINE_DATA_DIR) / f"kill-at-{point.replace(':', '-')}"


def arm() -> None:
    """Let this process, and those that it forks, die at points that are marked."""
    for points in POINTS.values():
        for point in points:
            failpoints.actions[point] = partial(die_if_marked, mark(point))


def die_if_marked(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
