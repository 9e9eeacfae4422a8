-- The key that orders events of the same moment: the event of the database with the greater key counts as the later.
-- Headquarters has no database; its key is empty and comes first.
--
-- Channel code and register name identify a database and are the same in every installation, as its id is not. The
-- "C" collation makes the order independent of the server's language.
CREATE FUNCTION database_place(database bigint) RETURNS text
LANGUAGE sql STABLE
RETURN coalesce((SELECT channel.code || ' ' || channel_database.name
                   FROM channel_database JOIN channel ON channel.id = channel_database.channel_id
                  WHERE channel_database.id = database), '') COLLATE "C";

-- Whether an event comes later than another one, so that what it says counts. The counter decides within a database,
-- the time between databases. The function is simple enough for the planner to put it into the statement that calls it.
CREATE FUNCTION is_later(at timestamptz, database bigint, generation integer, counter bigint,
                         other_at timestamptz, other_database bigint, other_generation integer, other_counter bigint)
RETURNS boolean
LANGUAGE sql STABLE
RETURN CASE WHEN other_database = database THEN (generation, counter) > (other_generation, other_counter)
            ELSE (at, database_place(database)) > (other_at, database_place(other_database)) END;
