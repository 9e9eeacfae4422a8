-- What must hold of the staged events of one kind: they are a log.

-- An event is never updated, unless its person is erased: then it loses what it said, once, and keeps what identifies
-- it. Conversion says of the batch what became of its events, and of the exceptions in open_event and settled_event.
CREATE TRIGGER a_staged_event_never_changes BEFORE UPDATE ON async_{kind} FOR EACH ROW
    WHEN (OLD.erased_at IS NOT NULL OR NEW.erased_at IS NULL
          OR (OLD.event_id, OLD.batch_id, OLD.database_id, OLD.company_id, OLD.generation, OLD.replication_counter,
              OLD.operation, OLD.async_account, OLD.account_number, OLD.staged_at)
             IS DISTINCT FROM
             (NEW.event_id, NEW.batch_id, NEW.database_id, NEW.company_id, NEW.generation, NEW.replication_counter,
              NEW.operation, NEW.async_account, NEW.account_number, NEW.staged_at))
    EXECUTE FUNCTION refuse();
