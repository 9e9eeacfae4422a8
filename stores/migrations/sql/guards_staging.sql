-- What must hold of upload batches, and of open and settled events.

-- A batch is converted once, and stays what it was.
CREATE TRIGGER a_batch_is_converted_once BEFORE UPDATE ON upload_batch FOR EACH ROW
    WHEN (OLD.converted_at IS NOT NULL
          OR (OLD.company_id, OLD.database_id, OLD.session_id, OLD.staged_at)
             IS DISTINCT FROM (NEW.company_id, NEW.database_id, NEW.session_id, NEW.staged_at))
    EXECUTE FUNCTION refuse();

-- A settled event is open no more, and an open one is not settled.
CREATE FUNCTION an_event_is_open_or_settled() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE is_both boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM fresh JOIN %I other USING ("table", event_id))',
                   CASE TG_TABLE_NAME WHEN 'open_event' THEN 'settled_event' ELSE 'open_event' END) INTO is_both;
    IF is_both THEN
        RAISE EXCEPTION '%: an event is open or settled, not both', TG_TABLE_NAME
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER an_event_is_open_or_settled AFTER INSERT ON open_event REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION an_event_is_open_or_settled();
CREATE TRIGGER an_event_is_open_or_settled AFTER INSERT ON settled_event REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION an_event_is_open_or_settled();
