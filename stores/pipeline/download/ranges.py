"""Ranges: what remains of old download sessions, as ranges of change numbers for each database."""

from datetime import timedelta

from django.db.models.functions import Now

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_value, run_sql
from stores.models import ChannelDatabase, DownloadSession
from stores.models.parameter import ParameterName, parameter
from stores.models.session import DownloadStatus

FOLD_SESSIONS = load(__file__, "fold_sessions")
SESSIONS_PER_CHUNK = 10_000


def fold_downloads() -> None:
    """Fold the download sessions of old runs, and remove those that brought nothing."""
    fold_sessions()
    delete_replaced()


def fold_sessions(*, limit: int = SESSIONS_PER_CHUNK) -> int:
    """Replace the oldest sessions that were applied long ago by ranges. Return how many."""
    values = {"kept_days": parameter(ParameterName.DETAILS_KEPT), "limit": limit}
    return int(fetch_value(FOLD_SESSIONS, values))


def delete_replaced(*, limit: int = SESSIONS_PER_CHUNK) -> None:
    """Delete old sessions that brought nothing because others took their place."""
    long_ago = Now() - timedelta(days=parameter(ParameterName.DETAILS_KEPT))
    replaced = DownloadSession.objects.deletable().filter(
        status=DownloadStatus.CANCELED, changed_by=None, started_at__lt=long_ago
    )
    DownloadSession.objects.filter(
        pk__in=list(replaced.values_list("pk", flat=True)[:limit])
    ).delete()


def add_unexplained_ranges(database: ChannelDatabase, position: int) -> None:
    """Insert ranges for the changes up to a position that no known session has brought.

    A restored HQ does not know the sessions after its backup. The ranges have no beginning, and are
    inserted in the caller's transaction.
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
