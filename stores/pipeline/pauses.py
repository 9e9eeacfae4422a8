"""Pause what HQ does in a channel database, one direction at a time, until a person resumes it.

Tills write on. What was paused is made up for by the next runs after it is resumed.
"""

from collections.abc import Collection, Iterator
from typing import Any

from django.db.models.functions import Now

from stores.messages.message import Message
from stores.models import ChannelDatabase
from stores.models.channel import Direction
from stores.pipeline.download.sessions import SessionRefused, pause_downloads, resume_downloads


class PauseRefused(Exception):
    """There is no pause to end. The message says so."""


def pause(database: ChannelDatabase, direction: Direction, reason: str, *, by: Any = None) -> None:
    """Stop uploads from a database, or downloads to it, at the next chunk.

    A direction that is paused already is paused anew, for this reason.
    """
    if direction == Direction.DOWNLOAD:
        pause_downloads(database, reason, by=by)
        return
    ChannelDatabase.objects.filter(pk=database.pk).update(
        uploads_paused_at=Now(), uploads_paused_by=by, uploads_pause_reason=reason
    )


def resume(database: ChannelDatabase, direction: Direction) -> None:
    """End the pause of a direction. Raise PauseRefused if it is not paused."""
    if direction == Direction.DOWNLOAD:
        try:
            resume_downloads(database)
        except SessionRefused as refusal:
            raise PauseRefused(str(refusal)) from None
        return
    paused = ChannelDatabase.objects.filter(pk=database.pk, uploads_paused_at__isnull=False)
    if not paused.update(
        uploads_paused_at=None,
        uploads_paused_by=None,
        uploads_pause_reason="",
        uploads_resumed_at=Now(),
    ):
        raise PauseRefused(f"Uploads from {database.label} are not paused.")


def paused_uploads(databases: Collection[int]) -> Iterator[Message]:
    """From which of the databases, given by their ids, nothing is uploaded."""
    if not databases:
        return
    paused = ChannelDatabase.objects.filter(uploads_paused_at__isnull=False, pk__in=databases)
    for database in paused.with_channel():
        yield Message("uploads_paused", database=database.label)
