"""Batches: the events that one transaction stages, and that conversion applies as a whole."""

from stores.models import ChannelDatabase, Company, UploadBatch, UploadSession


def open_batch(
    company: Company,
    *,
    database: ChannelDatabase | None = None,
    session: UploadSession | None = None,
    number: int = 1,
) -> int:
    """Create a batch, in the transaction that stages its events. Returns its id."""
    batch = UploadBatch.objects.create(
        company=company, database=database, session=session, number=number
    )
    return batch.pk


def close_batch(batch: int, rows: int) -> None:
    """Save the number of events in a batch, or delete a batch without events."""
    opened = UploadBatch.objects.filter(pk=batch)
    if rows:
        opened.update(rows=rows)
    else:
        opened.delete()
