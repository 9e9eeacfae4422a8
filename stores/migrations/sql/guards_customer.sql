-- What must hold of customers, their GUIDs, their addresses and other details, and their deliveries.
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
               THEN account_place(sequence.format, fresh.account_number) BETWEEN sequence.start AND sequence.largest
               ELSE sequence.next IS NULL
                    OR fresh.number < sequence.start OR fresh.number >= sequence.next
                    OR fresh.account_number <> account_text(sequence.format, fresh.number) END)
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

-- A delivery's customer and channel database exist, in one company. A customer who is delivered to several databases
-- is looked up once for all of them.
CREATE FUNCTION deliveries_have_customer_and_database() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT d.customer_id, h.company_id FROM fresh d
                       LEFT JOIN channel_database b ON b.id = d.database_id
                       LEFT JOIN channel h ON h.id = b.channel_id) target
         WHERE target.company_id IS NULL
            OR (SELECT c.company_id FROM customer c WHERE c.id = target.customer_id)
               IS DISTINCT FROM target.company_id)
    THEN
        RAISE EXCEPTION 'delivery: customer and channel database must exist in one company'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER deliveries_have_customer_and_database AFTER INSERT ON delivery
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION deliveries_have_customer_and_database();

-- A delivery keeps its customer and its database.
CREATE TRIGGER a_delivery_is_never_moved BEFORE UPDATE ON delivery FOR EACH ROW
    WHEN ((OLD.database_id, OLD.customer_id) IS DISTINCT FROM (NEW.database_id, NEW.customer_id))
    EXECUTE FUNCTION refuse();
