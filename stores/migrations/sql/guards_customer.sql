-- Rules for customers, their GUIDs, their addresses and other details.
--
-- Triggers check references to customers once per statement, instead of foreign keys once per row (ADR 0007). Each
-- look-up is a subquery of its own, and sequential scans are off. So PostgreSQL uses an index, even if its statistics or
-- an old plan say that the table is small. A scan of all customers for every chunk would make a large backlog take
-- quadratic time.

-- The account and the number of a new customer fit the number sequence of its company: an issued number is below the
-- next number, and an imported account is outside the range of the sequence.
CREATE FUNCTION accounts_fit_their_sequence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM fresh LEFT JOIN number_sequence sequence ON sequence.company_id = fresh.company_id
         WHERE CASE WHEN fresh.number IS NULL
               THEN parse_number(sequence.format, fresh.account_number) BETWEEN sequence.start AND sequence.largest
               ELSE sequence.next IS NULL
                    OR fresh.number < sequence.start OR fresh.number >= sequence.next
                    OR fresh.account_number <> format_number(sequence.format, fresh.number) END)
    THEN
        RAISE EXCEPTION 'customer: account and number do not fit the number sequence'
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER accounts_fit_their_sequence AFTER INSERT ON customer REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_fit_their_sequence();

-- A customer never changes its company, account or number, and is never deleted.
CREATE TRIGGER an_account_never_changes BEFORE UPDATE ON customer FOR EACH ROW
    WHEN ((OLD.id, OLD.company_id, OLD.account_number, OLD.number)
          IS DISTINCT FROM (NEW.id, NEW.company_id, NEW.account_number, NEW.number))
    EXECUTE FUNCTION refuse();
CREATE TRIGGER a_customer_is_never_deleted BEFORE DELETE OR TRUNCATE ON customer
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- The company of a new customer exists. The trigger a_company_with_customers_stays keeps it from being deleted later.
CREATE FUNCTION its_company_exists() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT company_id FROM fresh) new_customer
         WHERE NOT EXISTS (SELECT FROM company WHERE code = new_customer.company_id))
    THEN
        RAISE EXCEPTION '%: its company does not exist', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER its_company_exists AFTER INSERT ON customer REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION its_company_exists();

-- The account of a GUID never changes, and no GUID is deleted.
CREATE TRIGGER the_map_never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON guid_map
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- A GUID's customer and channel exist, both in the company that the GUID belongs to.
CREATE FUNCTION guid_customer_and_channel_share_the_company() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM fresh
         WHERE (SELECT company_id FROM customer WHERE id = fresh.customer_id)
               IS DISTINCT FROM fresh.company_id)
    OR EXISTS (
        SELECT FROM (SELECT DISTINCT channel_id, company_id FROM fresh) guid
         WHERE (SELECT company_id FROM channel WHERE id = guid.channel_id)
               IS DISTINCT FROM guid.company_id)
    THEN
        RAISE EXCEPTION 'guid_map: customer and channel must exist in its company'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER guid_customer_and_channel_share_the_company AFTER INSERT ON guid_map
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION guid_customer_and_channel_share_the_company();

-- Addresses, contacts, affiliations and attributes belong to a customer that exists, also after an update.
CREATE FUNCTION its_customer_exists() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM fresh WHERE (SELECT id FROM customer WHERE id = fresh.customer_id) IS NULL)
    THEN
        RAISE EXCEPTION '%: its customer does not exist', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER its_customer_exists AFTER INSERT ON customer_address REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION its_customer_exists();
CREATE TRIGGER its_new_customer_exists AFTER UPDATE ON customer_address REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION its_customer_exists();
CREATE TRIGGER its_customer_exists AFTER INSERT ON customer_contact REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION its_customer_exists();
CREATE TRIGGER its_new_customer_exists AFTER UPDATE ON customer_contact REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION its_customer_exists();
CREATE TRIGGER its_customer_exists AFTER INSERT ON customer_affiliation REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION its_customer_exists();
CREATE TRIGGER its_new_customer_exists AFTER UPDATE ON customer_affiliation REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION its_customer_exists();
CREATE TRIGGER its_customer_exists AFTER INSERT ON customer_attribute REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION its_customer_exists();
CREATE TRIGGER its_new_customer_exists AFTER UPDATE ON customer_attribute REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION its_customer_exists();

-- Every change takes a new number, and whoever is sent to channels once stays so: a channel that has everything up to
-- a number would miss a change that took none.
CREATE TRIGGER a_change_takes_a_new_number BEFORE UPDATE ON customer FOR EACH ROW
    WHEN (OLD.change_no IS NOT NULL
          AND (NEW.change_no IS NULL OR NEW.change_no < OLD.change_no
               OR NEW.change_no = OLD.change_no AND NEW.hq_version <> OLD.hq_version))
    EXECUTE FUNCTION refuse();

-- A change number is one that the company has given out: so its row is locked until the change is committed. Each
-- change is remembered.
CREATE FUNCTION changes_are_remembered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT company_id, max(change_no) AS change_no FROM fresh GROUP BY 1) f
          JOIN company o ON o.code = f.company_id WHERE f.change_no > o.change_no)
    THEN
        RAISE EXCEPTION 'customer: its company has not given out this change number'
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO customer_change (customer_id, change_no, version)
        SELECT id, change_no, hq_version FROM fresh WHERE change_no IS NOT NULL;
    ELSE
        INSERT INTO customer_change (customer_id, change_no, version)
        SELECT f.id, f.change_no, f.hq_version FROM fresh f JOIN before b USING (id)
         WHERE f.change_no IS DISTINCT FROM b.change_no;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER new_customers_are_remembered AFTER INSERT ON customer REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION changes_are_remembered();
CREATE TRIGGER changes_are_remembered AFTER UPDATE ON customer REFERENCING OLD TABLE AS before NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION changes_are_remembered();
CREATE TRIGGER the_history_of_changes_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON customer_change
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
