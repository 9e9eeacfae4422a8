-- The real-time service.

-- A token is never changed, except that it is used and, once, revoked. Nor is it deleted: it tells who made which
-- customers.
CREATE TRIGGER a_token_never_changes BEFORE UPDATE ON rts_token FOR EACH ROW
    WHEN ((OLD.id, OLD.digest, OLD.channel_id, OLD.networks, OLD.calls_per_minute, OLD.made_at, OLD.made_by_id,
           OLD.expires_at)
          IS DISTINCT FROM
          (NEW.id, NEW.digest, NEW.channel_id, NEW.networks, NEW.calls_per_minute, NEW.made_at, NEW.made_by_id,
           NEW.expires_at)
          OR (OLD.revoked_at IS NOT NULL
              AND (OLD.revoked_at, OLD.revoked_by_id) IS DISTINCT FROM (NEW.revoked_at, NEW.revoked_by_id)))
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_token_is_never_deleted BEFORE DELETE OR TRUNCATE ON rts_token
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER an_answer_never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON rts_answer
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- Count staged events. An event whose batch has no session does not count: headquarters made it, or it was counted when
-- it was quarantined. What tills send to the real-time service has no session, but has arrived.
CREATE OR REPLACE FUNCTION count_staged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO arrival (database_id, "table", day, rows)
    SELECT fresh.database_id, TG_TABLE_NAME, (fresh.staged_at AT TIME ZONE 'UTC')::date, count(*)
      FROM fresh JOIN upload_batch batch ON batch.id = fresh.batch_id
     WHERE batch.session_id IS NOT NULL OR fresh.origin = 'rts' GROUP BY 1, 2, 3
        ON CONFLICT (database_id, "table", day) DO UPDATE SET rows = arrival.rows + excluded.rows;
    RETURN NULL;
END $$;
