-- Since when a database that was left out is served again. What waits there was promised from then on.

-- A database is visited while it and its channel are switched on.
CREATE FUNCTION a_database_is_switched_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.switched_on_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER a_database_is_switched_on BEFORE UPDATE OF is_enabled ON channel_database FOR EACH ROW
    WHEN (NEW.is_enabled AND NOT OLD.is_enabled) EXECUTE FUNCTION a_database_is_switched_on();

CREATE FUNCTION a_channel_is_switched_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE channel_database SET switched_on_at = now() WHERE channel_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER a_channel_is_switched_on AFTER UPDATE OF is_enabled ON channel FOR EACH ROW
    WHEN (NEW.is_enabled AND NOT OLD.is_enabled) EXECUTE FUNCTION a_channel_is_switched_on();

-- A register is sent customers unless 1010 leaves out offline databases, or its group is filtered.
CREATE FUNCTION registers_are_included() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE channel_database SET included_at = now() WHERE name <> '';
    RETURN NULL;
END $$;
CREATE TRIGGER registers_are_included AFTER UPDATE ON scheduler_job FOR EACH ROW
    WHEN (OLD.job = '1010' AND OLD.exclude_from_offline AND NOT NEW.exclude_from_offline)
    EXECUTE FUNCTION registers_are_included();
-- A job without a row leaves nobody out.
CREATE TRIGGER registers_are_included_by_default AFTER DELETE ON scheduler_job FOR EACH ROW
    WHEN (OLD.job = '1010' AND OLD.exclude_from_offline) EXECUTE FUNCTION registers_are_included();

CREATE FUNCTION a_group_is_included() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE channel_database SET included_at = now() WHERE group_id = NEW.id AND name <> '';
    RETURN NULL;
END $$;
CREATE TRIGGER a_group_is_included AFTER UPDATE ON channel_database_group FOR EACH ROW
    WHEN (OLD.filter_shared_customer_data AND NOT NEW.filter_shared_customer_data)
    EXECUTE FUNCTION a_group_is_included();

CREATE FUNCTION a_register_leaves_its_group() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT filter_shared_customer_data FROM channel_database_group WHERE id = OLD.group_id) THEN
        NEW.included_at := now();
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a_register_leaves_its_group BEFORE UPDATE OF group_id ON channel_database FOR EACH ROW
    WHEN (NEW.group_id <> OLD.group_id) EXECUTE FUNCTION a_register_leaves_its_group();
