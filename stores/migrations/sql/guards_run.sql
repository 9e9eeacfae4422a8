-- Rules for runs and their steps.

-- Fencing numbers only grow, so that a worker that has lost a step cannot take it back.
CREATE TRIGGER fencing_numbers_only_grow BEFORE UPDATE ON run_step FOR EACH ROW
    WHEN (OLD.fencing_no IS NOT NULL
          AND (NEW.fencing_no IS NULL OR NEW.fencing_no < OLD.fencing_no))
    EXECUTE FUNCTION refuse();

-- A conversion succeeds only if it left no batch, and no event that was released. What came in the 15 minutes before it
-- started does not count: it may have come while it ran. While an incident reports that the database refuses to mark
-- events, the conversion succeeds without them.
CREATE FUNCTION what_waits_in_staging_says_why() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (EXISTS (
            SELECT FROM upload_batch
             WHERE company_id = NEW.company_id AND converted_at IS NULL
               AND staged_at < NEW.started_at - interval '15 minutes')
        OR EXISTS (
            SELECT FROM open_event
             WHERE company_id = NEW.company_id AND status = 'waiting'
               AND released_at < NEW.started_at - interval '15 minutes'))
    AND NOT EXISTS (
        SELECT FROM incident WHERE kind = 'row_refused' AND closed_at IS NULL
           AND subject = 'events of ' || NEW.company_id)
    THEN
        RAISE EXCEPTION 'run_step: something waits in staging without a reason'
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER what_waits_in_staging_says_why AFTER UPDATE OF status ON run_step FOR EACH ROW
    WHEN (NEW.step = 'convert' AND OLD.status = 'running'
          AND NEW.status IN ('succeeded', 'nothing_to_do'))
    EXECUTE FUNCTION what_waits_in_staging_says_why();
