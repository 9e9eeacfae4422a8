"""Fingerprints of a table, by which two databases find out cheaply where they differ.

The rows are divided into 256 buckets. A fingerprint is the number of rows in a bucket and the sum
of their hashes.
"""

from collections.abc import Iterable
from typing import TypeAlias

from stores.hqdb.sql import Row

Fingerprints: TypeAlias = dict[int, tuple[int, int]]


def parse_fingerprints(rows: Iterable[Row]) -> Fingerprints:
    """Return the result of a query for bucket, number of rows and sum of hashes."""
    return {int(bucket): (int(count), int(total)) for bucket, count, total in rows}


def add_row(fingerprints: Fingerprints, bucket: int, hash_of_row: int) -> None:
    count, total = fingerprints.get(bucket, (0, 0))
    fingerprints[bucket] = (count + 1, total + hash_of_row)


def count_rows_in(fingerprints: Fingerprints) -> int:
    return sum(count for count, _ in fingerprints.values())


def differing_buckets(theirs: Fingerprints, ours: Fingerprints) -> list[int]:
    return [bucket for bucket in range(256) if theirs.get(bucket) != ours.get(bucket)]
