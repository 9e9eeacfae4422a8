-- Rules for packages, the sessions that carry them, and their exceptions.

-- The rows were written once and are read whole: compressing them costs more than it saves.
ALTER TABLE package_table ALTER data SET STORAGE EXTERNAL;

-- What a package is never changes; only its data is dropped, and then stays away.
CREATE TRIGGER a_package_never_changes BEFORE UPDATE ON package FOR EACH ROW
    WHEN ((OLD.id, OLD.company_id, OLD.from_no, OLD.to_no, OLD.latest_no, OLD.is_shortcut, OLD.customers, OLD.rows,
           OLD.size_bytes, OLD.sha256, OLD.made_at)
          IS DISTINCT FROM
          (NEW.id, NEW.company_id, NEW.from_no, NEW.to_no, NEW.latest_no, NEW.is_shortcut, NEW.customers, NEW.rows,
           NEW.size_bytes, NEW.sha256, NEW.made_at)
          OR OLD.dropped_at IS NOT NULL AND NEW.dropped_at IS NULL)
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_package_is_never_deleted BEFORE DELETE OR TRUNCATE ON package
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- The data of a package goes with the first of its customers that is erased. Who still needs the package gets another.
CREATE FUNCTION the_erased_leave_no_package() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH dropped AS (
      UPDATE package p SET dropped_at = now() FROM customer_change c
       WHERE c.customer_id = NEW.id AND p.company_id = NEW.company_id AND p.dropped_at IS NULL
         AND int8range(p.from_no, p.to_no, '(]') @> c.change_no
      RETURNING p.id)
    DELETE FROM package_table t USING dropped WHERE t.package_id = dropped.id;
    RETURN NULL;
END $$;
CREATE TRIGGER the_erased_leave_no_package AFTER UPDATE ON customer FOR EACH ROW
    WHEN (NEW.state = 'erased' AND OLD.state <> 'erased') EXECUTE FUNCTION the_erased_leave_no_package();

-- A database is sent only what belongs to its company.
CREATE FUNCTION company_of_database(bigint) RETURNS text LANGUAGE sql STABLE AS
    'SELECT h.company_id FROM channel_database b JOIN channel h ON h.id = b.channel_id WHERE b.id = $1';
CREATE FUNCTION company_of_package(bigint) RETURNS text LANGUAGE sql STABLE AS
    'SELECT company_id FROM package WHERE id = $1';
CREATE FUNCTION company_of_customer(bigint) RETURNS text LANGUAGE sql STABLE AS
    'SELECT company_id FROM customer WHERE id = $1';
CREATE TRIGGER packages_stay_in_their_company AFTER INSERT OR UPDATE OF database_id, package_id ON download_session
    FOR EACH ROW WHEN (company_of_package(NEW.package_id) <> company_of_database(NEW.database_id))
    EXECUTE FUNCTION refuse();
CREATE TRIGGER exceptions_stay_in_their_company AFTER INSERT OR UPDATE OF database_id, customer_id ON download_exception
    FOR EACH ROW WHEN (company_of_customer(NEW.customer_id) <> company_of_database(NEW.database_id))
    EXECUTE FUNCTION refuse();
