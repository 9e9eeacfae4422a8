"""The hash of a posted statement, which posting saves and the check `verify` computes again."""

from psycopg2 import sql

from stores.hqdb.files import load

STATEMENT_HASH = load(__file__, "_statement_hash")


def statement_hash(statement: str) -> sql.Composed:
    """SQL that computes the hash. `statement` is the SQL of the statement's id."""
    return STATEMENT_HASH.format(statement=sql.SQL(statement))
