-- Rules for channels and their databases.

-- Channels and their databases are never deleted, because the rows that came from them refer to them.
CREATE TRIGGER a_channel_is_never_deleted BEFORE DELETE OR TRUNCATE ON channel
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER a_database_is_never_deleted BEFORE DELETE OR TRUNCATE ON channel_database
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- A channel stays in its company, and a database with its channel. The guards of customers, packages and sales
-- look at new rows only, and rely on it.
CREATE TRIGGER a_channel_keeps_its_company BEFORE UPDATE ON channel FOR EACH ROW
    WHEN (OLD.company_id <> NEW.company_id) EXECUTE FUNCTION refuse();
CREATE TRIGGER a_database_keeps_its_channel BEFORE UPDATE ON channel_database FOR EACH ROW
    WHEN (OLD.channel_id <> NEW.channel_id) EXECUTE FUNCTION refuse();

-- PostgreSQL knows the channel's time zone. This is a trigger and not a constraint, because restoring a dump must not
-- check it again: the new server may know other zones.
CREATE FUNCTION its_time_zone_is_known() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM now() AT TIME ZONE NEW.time_zone;
    RETURN NULL;
EXCEPTION WHEN invalid_parameter_value THEN
    RAISE EXCEPTION 'channel %: the database does not know its time zone', NEW.code
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER its_time_zone_is_known AFTER INSERT OR UPDATE OF time_zone ON channel
    FOR EACH ROW EXECUTE FUNCTION its_time_zone_is_known();

-- A channel changes its statement mode only while none of its statements is open.
CREATE FUNCTION modes_of_statements_do_not_mix() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM statement
                WHERE channel_id = NEW.id AND state NOT IN ('posted', 'cancelled')) THEN
        RAISE EXCEPTION 'channel %: a statement is open, post it before the mode changes', NEW.code
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER modes_of_statements_do_not_mix BEFORE UPDATE OF statement_mode ON channel
    FOR EACH ROW WHEN (OLD.statement_mode <> NEW.statement_mode)
    EXECUTE FUNCTION modes_of_statements_do_not_mix();
