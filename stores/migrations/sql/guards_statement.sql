-- Rules for statements, the orders they make and the payments they post.
--
-- These triggers see what other transactions have committed. The pipeline therefore locks a statement before it adds
-- to the statement, posts it or cancels it.

-- Orders are never deleted.
CREATE TRIGGER a_sales_order_is_never_deleted BEFORE DELETE OR TRUNCATE ON sales_order
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- An order keeps its number, its source, its customer and its amounts.
CREATE TRIGGER a_sales_order_keeps_its_values BEFORE UPDATE ON sales_order FOR EACH ROW
    WHEN ((OLD.id, OLD.company_id, OLD.channel_id, OLD.number, OLD.confirmation_number,
           OLD.statement_id, OLD.customer_id, OLD.business_date, OLD.currency, OLD.net_amount,
           OLD.tax_amount, OLD.gross_amount, OLD.discount_amount)
          IS DISTINCT FROM
          (NEW.id, NEW.company_id, NEW.channel_id, NEW.number, NEW.confirmation_number,
           NEW.statement_id, NEW.customer_id, NEW.business_date, NEW.currency, NEW.net_amount,
           NEW.tax_amount, NEW.gross_amount, NEW.discount_amount))
    EXECUTE FUNCTION refuse();

-- An order keeps its invoice number once it has one.
CREATE TRIGGER an_invoice_number_never_changes BEFORE UPDATE ON sales_order FOR EACH ROW
    WHEN (OLD.invoice_number IS DISTINCT FROM NEW.invoice_number AND OLD.invoice_number IS NOT NULL)
    EXECUTE FUNCTION refuse();

-- The steps between the states of an order. Only a hold can be placed and lifted again.
CREATE TRIGGER a_sales_order_moves_forward BEFORE UPDATE ON sales_order FOR EACH ROW
    WHEN (OLD.state <> NEW.state
          AND (OLD.state, NEW.state) NOT IN (
              ('open', 'on_hold'), ('on_hold', 'open'), ('open', 'invoiced'),
              ('open', 'cancelled'), ('invoiced', 'cancelled')))
    EXECUTE FUNCTION refuse();

-- An order is cancelled only with the statement that made it, and before its payments are posted.
CREATE FUNCTION an_order_is_cancelled_with_its_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM statement WHERE id = NEW.statement_id AND state <> 'posted')
       OR EXISTS (SELECT FROM posted_payment WHERE sales_order_id = NEW.id) THEN
        RAISE EXCEPTION 'sales_order %: only orders of a statement that is not posted are cancelled', NEW.id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER an_order_is_cancelled_with_its_statement BEFORE UPDATE ON sales_order FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND NEW.state = 'cancelled')
    EXECUTE FUNCTION an_order_is_cancelled_with_its_statement();

-- A statement and its channel belong to the same company.
CREATE FUNCTION statement_and_channel_share_the_company() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM channel WHERE id = NEW.channel_id AND company_id = NEW.company_id) THEN
        RAISE EXCEPTION 'statement %: its channel must be of its company', NEW.id
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER statement_and_channel_share_the_company
    BEFORE INSERT OR UPDATE OF channel_id, company_id ON statement
    FOR EACH ROW EXECUTE FUNCTION statement_and_channel_share_the_company();

-- A posted or cancelled statement never changes.
CREATE TRIGGER a_posted_statement_is_frozen BEFORE UPDATE OR DELETE ON statement FOR EACH ROW
    WHEN (OLD.state IN ('posted', 'cancelled')) EXECUTE FUNCTION refuse();
CREATE TRIGGER statements_are_never_truncated BEFORE TRUNCATE ON statement
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- A statement is cancelled only after its sales and prepayments have left it, so that another statement takes them.
CREATE FUNCTION a_cancelled_statement_has_no_sales() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM retail_transaction WHERE statement_id = NEW.id)
       OR EXISTS (SELECT FROM retail_transaction WHERE prepayment_statement_id = NEW.id) THEN
        RAISE EXCEPTION 'statement %: a cancelled one has no sales', NEW.id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a_cancelled_statement_has_no_sales BEFORE UPDATE ON statement FOR EACH ROW
    WHEN (NEW.state = 'cancelled') EXECUTE FUNCTION a_cancelled_statement_has_no_sales();

-- Nothing that belongs to a statement is added, changed or removed once the statement is posted or cancelled. This
-- covers rows that move from one statement to another. PostgreSQL sets OLD to NULL on INSERT, and NEW on DELETE.
CREATE FUNCTION parts_of_a_posted_statement_are_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM statement
                WHERE id IN (OLD.statement_id, NEW.statement_id) AND state IN ('posted', 'cancelled')) THEN
        RAISE EXCEPTION '%: its statement is posted or cancelled', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER frozen_once_posted BEFORE INSERT OR UPDATE OR DELETE ON statement_tender
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_posted_statement_are_frozen();
CREATE TRIGGER frozen_once_posted BEFORE INSERT OR UPDATE OR DELETE ON statement_total
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_posted_statement_are_frozen();
CREATE TRIGGER frozen_once_posted BEFORE INSERT OR UPDATE OR DELETE ON statement_aggregate
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_posted_statement_are_frozen();
-- The other triggers of these two tables refuse what would be changed or removed.
CREATE TRIGGER frozen_once_posted BEFORE INSERT ON sales_order
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_posted_statement_are_frozen();
CREATE TRIGGER frozen_once_posted BEFORE INSERT ON posted_payment
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_posted_statement_are_frozen();

-- The events of a statement, and the payments it posted, are never changed or deleted.
CREATE TRIGGER events_of_statements_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER posted_payments_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON posted_payment
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
