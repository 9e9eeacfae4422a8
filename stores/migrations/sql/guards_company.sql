-- Rules for companies, their number sequences and their attribute definitions.

-- A company with customers cannot be deleted and cannot change its code. Customers have no foreign key to their
-- company: see guards_customer.sql.
CREATE FUNCTION a_company_with_customers_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM customer WHERE company_id = OLD.code) THEN
        RAISE EXCEPTION 'company %: it has customers', OLD.code
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER a_company_with_customers_stays BEFORE DELETE ON company
    FOR EACH ROW EXECUTE FUNCTION a_company_with_customers_stays();
CREATE TRIGGER a_company_with_customers_keeps_its_code BEFORE UPDATE OF code ON company
    FOR EACH ROW EXECUTE FUNCTION a_company_with_customers_stays();

-- TRUNCATE does not fire the two triggers above.
CREATE TRIGGER companies_are_never_truncated BEFORE TRUNCATE ON company
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- No account number is issued twice: the next number never decreases.
CREATE TRIGGER the_next_number_never_falls BEFORE UPDATE ON number_sequence FOR EACH ROW
    WHEN (NEW.next < OLD.next) EXECUTE FUNCTION refuse();

-- No change number is given out twice: a channel that has everything up to it would miss the second change.
CREATE TRIGGER the_change_number_never_falls BEFORE UPDATE ON company FOR EACH ROW
    WHEN (NEW.change_no < OLD.change_no) EXECUTE FUNCTION refuse();

-- The format and the start of a sequence never change once it has issued a number.
CREATE TRIGGER the_format_is_frozen_once_used BEFORE UPDATE ON number_sequence FOR EACH ROW
    WHEN (OLD.next > OLD.start AND (NEW.format, NEW.start) IS DISTINCT FROM (OLD.format, OLD.start))
    EXECUTE FUNCTION refuse();

-- Every number of a sequence fits into its format.
ALTER TABLE number_sequence ADD CONSTRAINT the_largest_number_fits_the_format
    CHECK (length(largest::text) <= format_width(format));

-- A sequence that has issued numbers cannot be deleted, because a new one would issue them again.
CREATE TRIGGER a_used_sequence_is_never_deleted BEFORE DELETE ON number_sequence FOR EACH ROW
    WHEN (OLD.next > OLD.start) EXECUTE FUNCTION refuse();
CREATE TRIGGER sequences_are_never_truncated BEFORE TRUNCATE ON number_sequence
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- No imported account lies in the range of a sequence. Otherwise the conversion that reaches its number would fail, and
-- so would every later one. The trigger accounts_fit_their_sequence checks the same when a customer is imported.
CREATE FUNCTION a_sequence_keeps_clear_of_imported_accounts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM customer
         WHERE company_id = NEW.company_id AND number IS NULL
           AND parse_number(NEW.format, account_number) BETWEEN NEW.start AND NEW.largest)
    THEN
        RAISE EXCEPTION 'number_sequence: an imported account lies in its range'
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER a_sequence_keeps_clear_of_imported_accounts
    AFTER INSERT OR UPDATE OF start, largest, format ON number_sequence
    FOR EACH ROW EXECUTE FUNCTION a_sequence_keeps_clear_of_imported_accounts();

-- No order or invoice number is issued twice: the next numbers never decrease.
CREATE TRIGGER a_sequence_of_orders_never_falls BEFORE UPDATE ON order_sequence FOR EACH ROW
    WHEN (NEW.next_order < OLD.next_order OR NEW.next_invoice < OLD.next_invoice)
    EXECUTE FUNCTION refuse();

-- A sequence of orders and invoices cannot be deleted, because a new one would issue its numbers again.
CREATE TRIGGER a_used_sequence_of_orders_is_never_deleted BEFORE DELETE ON order_sequence
    FOR EACH ROW EXECUTE FUNCTION refuse();

-- The options of an attribute are a list of texts, and its name has at least one visible letter.
ALTER TABLE attribute_definition
    ADD CONSTRAINT options_are_texts CHECK (
        jsonb_typeof(options) = 'array'
        AND NOT jsonb_path_exists(options, '$[*] ? (@.type() <> "string")')),
    ADD CONSTRAINT an_attribute_has_a_name CHECK (normalize_key(name) <> '');
