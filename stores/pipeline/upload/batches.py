"""Batches: what one transaction stages, for conversion to take as a whole."""

from stores.models import ChannelDatabase, Company, UploadBatch, UploadSession


def open_batch(
    company: Company,
    *,
    database: ChannelDatabase | None = None,
    session: UploadSession | None = None,
    number: int = 1,
) -> int:
    """Begin a batch, in the transaction that stages its events. Returns its id.

    Conversion sees it when the transaction commits, and so never a part of it.
    """
    batch = UploadBatch.objects.create(
        company=company, database=database, session=session, number=number
    )
    return batch.pk


def close_batch(batch: int, rows: int) -> None:
    """Note how many events a batch has. One without events is none."""
    opened = UploadBatch.objects.filter(pk=batch)
    if rows:
        opened.update(rows=rows)
    else:
        opened.delete()
