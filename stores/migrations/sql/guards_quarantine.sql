-- What must hold of quarantined rows.

-- No event is both open in quarantine and pending in staging. This trigger checks rows that enter quarantine. The
-- pipeline does the rest: when it stages an event, it closes the quarantined row in the same transaction.
--
-- Two exceptions: a sale has no pending status, so it may not be staged at all; and an event that conflicts with a
-- staged event of the same id (event_conflict) is quarantined beside it.
CREATE FUNCTION an_open_row_is_not_pending() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE is_pending boolean;
BEGIN
    IF NEW."table" = 'retail_transaction' THEN
        is_pending := EXISTS (SELECT FROM retail_transaction WHERE event_id = NEW.event_id);
    ELSIF to_regclass(NEW."table") IS NOT NULL THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE event_id = $1 AND status = ''pending'')',
                       replace(NEW."table", 'async_', 'staged_')) INTO is_pending USING NEW.event_id;
    END IF;
    IF is_pending THEN
        RAISE EXCEPTION 'quarantine: its event is pending in staging'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER an_open_row_is_not_pending AFTER INSERT OR UPDATE OF status, reason ON quarantine
    FOR EACH ROW WHEN (NEW.status = 'open' AND NEW.event_id IS NOT NULL
                       AND NEW.reason <> 'event_conflict')
    EXECUTE FUNCTION an_open_row_is_not_pending();
