"""What stays of download sessions for ever: ranges of changes, a few for each database."""

from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_one, run_sql
from stores.models import ChannelDatabase, DownloadSession
from stores.models.session import DownloadStatus

FOLD_SESSIONS = load(__file__, "fold_sessions")
SESSIONS_PER_CHUNK = 10_000


def fold_sessions(*, limit: int = SESSIONS_PER_CHUNK) -> int:
    """Fold the oldest sessions that were applied long ago into ranges. Returns how many.

    Effects: sessions, ranges and packages, in one statement.
    """
    (folded,) = fetch_one(FOLD_SESSIONS, {"kept_days": settings.DETAILS_KEPT_DAYS, "limit": limit})
    return int(folded)


def delete_replaced(*, limit: int = SESSIONS_PER_CHUNK) -> None:
    """Remove sessions of long ago that brought nothing, because others took their place."""
    long_ago = Now() - timedelta(days=settings.DETAILS_KEPT_DAYS)
    replaced = DownloadSession.objects.deletable().filter(
        status=DownloadStatus.CANCELED, changed_by=None, started_at__lt=long_ago
    )
    found = list(replaced.values_list("pk", flat=True)[:limit])
    DownloadSession.objects.filter(pk__in=found).delete()


def note_untold(database: ChannelDatabase, position: int) -> None:
    """Note what a database has by its own word alone: no session is known that brought it.

    Such as what it was sent after the backup from which headquarters was restored. Effects: ranges
    without a beginning, in the caller's transaction.
    """
    run_sql(
        """INSERT INTO download_range (database_id, is_shortcut, from_no, to_no, latest_no,
                                       last_applied_at, sessions, customers, rows)
           SELECT %(database)s, true, lower(gap) - 1, upper(gap) - 1, upper(gap) - 1, now(), 0, 0, 0
             FROM unnest(int8multirange(int8range(0, %(position)s, '(]')) - coalesce(
                  (SELECT range_agg(changes) FROM delivered_range
                    WHERE database_id = %(database)s), int8multirange())) gap""",
        {"database": database.pk, "position": position},
    )
