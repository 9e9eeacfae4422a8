-- What must hold of staged events: they are a log.

-- An event is never updated, unless its person is erased: then it loses what it said, once, and keeps what identifies
-- it. Conversion says of the batch what became of its events, and of the exceptions in open_event and settled_event.
CREATE TRIGGER a_staged_event_never_changes BEFORE UPDATE ON async_customer FOR EACH ROW
    WHEN (OLD.erased_at IS NOT NULL OR NEW.erased_at IS NULL
          OR (OLD.event_id, OLD.batch_id, OLD.database_id, OLD.company_id, OLD.generation, OLD.replication_counter,
              OLD.operation, OLD.async_account, OLD.account_number, OLD.staged_at)
             IS DISTINCT FROM
             (NEW.event_id, NEW.batch_id, NEW.database_id, NEW.company_id, NEW.generation, NEW.replication_counter,
              NEW.operation, NEW.async_account, NEW.account_number, NEW.staged_at))
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_staged_event_never_changes BEFORE UPDATE ON async_address FOR EACH ROW
    WHEN (OLD.erased_at IS NOT NULL OR NEW.erased_at IS NULL
          OR (OLD.event_id, OLD.batch_id, OLD.database_id, OLD.company_id, OLD.generation, OLD.replication_counter,
              OLD.operation, OLD.async_account, OLD.account_number, OLD.staged_at)
             IS DISTINCT FROM
             (NEW.event_id, NEW.batch_id, NEW.database_id, NEW.company_id, NEW.generation, NEW.replication_counter,
              NEW.operation, NEW.async_account, NEW.account_number, NEW.staged_at))
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_staged_event_never_changes BEFORE UPDATE ON async_contact FOR EACH ROW
    WHEN (OLD.erased_at IS NOT NULL OR NEW.erased_at IS NULL
          OR (OLD.event_id, OLD.batch_id, OLD.database_id, OLD.company_id, OLD.generation, OLD.replication_counter,
              OLD.operation, OLD.async_account, OLD.account_number, OLD.staged_at)
             IS DISTINCT FROM
             (NEW.event_id, NEW.batch_id, NEW.database_id, NEW.company_id, NEW.generation, NEW.replication_counter,
              NEW.operation, NEW.async_account, NEW.account_number, NEW.staged_at))
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_staged_event_never_changes BEFORE UPDATE ON async_affiliation FOR EACH ROW
    WHEN (OLD.erased_at IS NOT NULL OR NEW.erased_at IS NULL
          OR (OLD.event_id, OLD.batch_id, OLD.database_id, OLD.company_id, OLD.generation, OLD.replication_counter,
              OLD.operation, OLD.async_account, OLD.account_number, OLD.staged_at)
             IS DISTINCT FROM
             (NEW.event_id, NEW.batch_id, NEW.database_id, NEW.company_id, NEW.generation, NEW.replication_counter,
              NEW.operation, NEW.async_account, NEW.account_number, NEW.staged_at))
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_staged_event_never_changes BEFORE UPDATE ON async_attribute FOR EACH ROW
    WHEN (OLD.erased_at IS NOT NULL OR NEW.erased_at IS NULL
          OR (OLD.event_id, OLD.batch_id, OLD.database_id, OLD.company_id, OLD.generation, OLD.replication_counter,
              OLD.operation, OLD.async_account, OLD.account_number, OLD.staged_at)
             IS DISTINCT FROM
             (NEW.event_id, NEW.batch_id, NEW.database_id, NEW.company_id, NEW.generation, NEW.replication_counter,
              NEW.operation, NEW.async_account, NEW.account_number, NEW.staged_at))
    EXECUTE FUNCTION refuse();

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
