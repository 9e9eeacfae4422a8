-- Rules for runs and their steps.

-- Fencing numbers only grow, so that a worker that has lost a step cannot take it back.
CREATE TRIGGER fencing_numbers_only_grow BEFORE UPDATE ON run_step FOR EACH ROW
    WHEN (OLD.fencing_no IS NOT NULL
          AND (NEW.fencing_no IS NULL OR NEW.fencing_no < OLD.fencing_no))
    EXECUTE FUNCTION refuse();

-- No conversion succeeds while an event that it left in staging says no reason. What arrived in the last 15 minutes
-- may not have been looked at: an upload takes less. An open incident says the reason where the database refuses to
-- tell it.
CREATE FUNCTION what_waits_in_staging_says_why() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (EXISTS (SELECT FROM async_customer s
                 WHERE s.company_id = NEW.company_id AND s.status = 'pending'
                   AND coalesce(s.reason, '') = '' AND s.staged_at < NEW.started_at - interval '15 minutes')
        OR EXISTS (SELECT FROM async_address s
                 WHERE s.company_id = NEW.company_id AND s.status = 'pending'
                   AND coalesce(s.reason, '') = '' AND s.staged_at < NEW.started_at - interval '15 minutes')
        OR EXISTS (SELECT FROM async_contact s
                 WHERE s.company_id = NEW.company_id AND s.status = 'pending'
                   AND coalesce(s.reason, '') = '' AND s.staged_at < NEW.started_at - interval '15 minutes')
        OR EXISTS (SELECT FROM async_affiliation s
                 WHERE s.company_id = NEW.company_id AND s.status = 'pending'
                   AND coalesce(s.reason, '') = '' AND s.staged_at < NEW.started_at - interval '15 minutes')
        OR EXISTS (SELECT FROM async_attribute s
                 WHERE s.company_id = NEW.company_id AND s.status = 'pending'
                   AND coalesce(s.reason, '') = '' AND s.staged_at < NEW.started_at - interval '15 minutes'))
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
