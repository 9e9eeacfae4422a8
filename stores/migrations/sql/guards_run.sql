-- What must hold of runs and their steps.

-- Fencing numbers only grow, so that a worker that has lost a run or a step cannot take it back.
CREATE TRIGGER fencing_numbers_only_grow BEFORE UPDATE ON job_run FOR EACH ROW
    WHEN (OLD.fencing_no IS NOT NULL
          AND (NEW.fencing_no IS NULL OR NEW.fencing_no < OLD.fencing_no))
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_steps_fencing_number_only_grows BEFORE UPDATE ON run_step FOR EACH ROW
    WHEN (OLD.fencing_no IS NOT NULL
          AND (NEW.fencing_no IS NULL OR NEW.fencing_no < OLD.fencing_no))
    EXECUTE FUNCTION refuse();

-- A conversion succeeds only if every event that it left in staging has a reason. Events of the last 15 minutes before
-- it started do not count: an upload may have added them while it ran. While an incident reports that the database
-- refuses to store the reasons, the conversion succeeds without them.
CREATE FUNCTION what_waits_in_staging_says_why() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM staged_event
         WHERE company_id = NEW.company_id AND status = 'pending' AND coalesce(reason, '') = ''
           AND staged_at < NEW.started_at - interval '15 minutes')
    AND NOT EXISTS (
        SELECT FROM incident
         WHERE kind = 'row_refused' AND closed_at IS NULL AND subject = 'events of ' || NEW.company_id)
    THEN
        RAISE EXCEPTION 'run_step %: something waits in staging without a reason', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER what_waits_in_staging_says_why AFTER UPDATE OF status ON run_step FOR EACH ROW
    WHEN (NEW.step = 'convert' AND OLD.status = 'running'
          AND NEW.status IN ('succeeded', 'nothing_to_do'))
    EXECUTE FUNCTION what_waits_in_staging_says_why();
