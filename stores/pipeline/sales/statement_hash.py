"""The hash of a posted statement, over every row that it stands for.

Posting writes it and `verify` computes it again, so that a change under a statement shows.
"""

from psycopg2 import sql

from stores.hqdb.files import load

STATEMENT_HASH = load(__file__, "_statement_hash")


def statement_hash(statement: str) -> sql.Composed:
    """SQL of the hash over the rows of a statement, whose id is an expression."""
    return STATEMENT_HASH.format(statement=sql.SQL(statement))
