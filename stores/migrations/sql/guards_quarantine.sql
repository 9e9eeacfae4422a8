-- What must hold of quarantined rows.

-- No event is both open in quarantine and pending in staging. The pipeline keeps the other half of this rule: an
-- event that is accepted closes its quarantine in the same transaction. A document has no status to ask for: it is
-- either staged or quarantined. Two contents of one event id may both be there.
CREATE FUNCTION an_open_row_is_not_pending() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE is_pending boolean;
BEGIN
    IF NEW."table" = 'retail_transaction' THEN
        is_pending := EXISTS (SELECT FROM retail_transaction WHERE event_id = NEW.event_id);
    ELSIF to_regclass(NEW."table") IS NOT NULL THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE event_id = $1 AND status = ''pending'')',
                       NEW."table") INTO is_pending USING NEW.event_id;
    END IF;
    IF is_pending THEN
        RAISE EXCEPTION 'quarantine: its event is pending in staging'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER an_open_row_is_not_pending AFTER INSERT OR UPDATE OF status, reason ON quarantine
    FOR EACH ROW WHEN (NEW.status = 'open' AND NEW.event_id IS NOT NULL
                       AND NEW.reason <> 'event_conflict')
    EXECUTE FUNCTION an_open_row_is_not_pending();
