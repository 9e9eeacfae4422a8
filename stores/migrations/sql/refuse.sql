-- Refuse a statement. This is the function of every trigger that forbids an operation outright, or in the cases that
-- its WHEN clause names. The error carries the trigger's name as its constraint.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: % refused', TG_TABLE_NAME, lower(TG_OP)
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
