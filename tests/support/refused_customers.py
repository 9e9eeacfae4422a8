"""A channel database that refuses customers of a name, as a trigger of a till's vendor does."""

from stores.models import ChannelDatabase
from tests.support.make import engine_of, query


def refuse_customer(database: ChannelDatabase, name: str, *, event: str = "INSERT") -> None:
    condition = f"NEW.first_name = '{name}'"
    if engine_of(database) == "sqlite":
        query(
            database,
            f"""CREATE TRIGGER till_refuses AFTER {event} ON customer WHEN {condition}
                BEGIN SELECT RAISE(ABORT, 'refused'); END""",
        )
    else:
        query(
            database,
            f"""CREATE FUNCTION till_refuses() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
                CREATE TRIGGER till_refuses AFTER {event} ON customer FOR EACH ROW
                WHEN ({condition}) EXECUTE FUNCTION till_refuses()""",
        )


def allow_customers(database: ChannelDatabase) -> None:
    if engine_of(database) == "sqlite":
        query(database, "DROP TRIGGER till_refuses")
    else:
        query(database, "DROP FUNCTION till_refuses() CASCADE")
