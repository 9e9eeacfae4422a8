-- What must hold of quarantined rows.

-- No event is both open in quarantine and pending in staging. This trigger checks rows that enter quarantine. The
-- pipeline does the rest: when it stages an event, it closes the quarantined row in the same transaction.
--
-- Two exceptions: a sale has no pending status, so it may not be staged at all; and an event that conflicts with a
-- staged event of the same id (event_conflict) is quarantined beside it.
--
-- Each table has a statement of its own, which the session plans once; this runs for every bad row. The plan is an index
-- scan even if the table was empty then.
CREATE OR REPLACE FUNCTION an_open_row_is_not_pending() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE is_pending boolean := false;
BEGIN
    CASE NEW."table"
        WHEN 'async_customer' THEN
            is_pending := EXISTS (SELECT FROM staged_customer WHERE event_id = NEW.event_id AND status = 'pending');
        WHEN 'async_address' THEN
            is_pending := EXISTS (SELECT FROM staged_address WHERE event_id = NEW.event_id AND status = 'pending');
        WHEN 'async_contact' THEN
            is_pending := EXISTS (SELECT FROM staged_contact WHERE event_id = NEW.event_id AND status = 'pending');
        WHEN 'async_affiliation' THEN
            is_pending := EXISTS (SELECT FROM staged_affiliation WHERE event_id = NEW.event_id AND status = 'pending');
        WHEN 'async_attribute' THEN
            is_pending := EXISTS (SELECT FROM staged_attribute WHERE event_id = NEW.event_id AND status = 'pending');
        WHEN 'retail_transaction' THEN
            is_pending := EXISTS (SELECT FROM retail_transaction WHERE event_id = NEW.event_id);
        ELSE
            NULL;
    END CASE;
    IF is_pending THEN
        RAISE EXCEPTION 'quarantine: its event is pending in staging'
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER an_open_row_is_not_pending AFTER INSERT OR UPDATE OF status, reason ON quarantine
    FOR EACH ROW WHEN (NEW.status = 'open' AND NEW.event_id IS NOT NULL
                       AND NEW.reason <> 'event_conflict')
    EXECUTE FUNCTION an_open_row_is_not_pending();
