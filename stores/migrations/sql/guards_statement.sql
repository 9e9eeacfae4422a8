-- What must hold of statements, the orders they make and the payments they post.

-- Orders are never deleted.
CREATE TRIGGER a_sales_order_is_never_deleted BEFORE DELETE OR TRUNCATE ON sales_order
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- An order keeps its numbers, its customer and its amounts, and its state only moves forward.
CREATE TRIGGER a_sales_order_moves_forward BEFORE UPDATE ON sales_order FOR EACH ROW
    WHEN ((OLD.id, OLD.company_id, OLD.channel_id, OLD.number, OLD.confirmation_number,
           OLD.statement_id, OLD.customer_id, OLD.business_date, OLD.currency, OLD.net_amount,
           OLD.tax_amount, OLD.gross_amount, OLD.discount_amount)
          IS DISTINCT FROM
          (NEW.id, NEW.company_id, NEW.channel_id, NEW.number, NEW.confirmation_number,
           NEW.statement_id, NEW.customer_id, NEW.business_date, NEW.currency, NEW.net_amount,
           NEW.tax_amount, NEW.gross_amount, NEW.discount_amount)
          OR (OLD.invoice_number IS NOT NULL AND OLD.invoice_number IS DISTINCT FROM NEW.invoice_number)
          OR (OLD.state, NEW.state) NOT IN (
              ('open', 'open'), ('on_hold', 'on_hold'), ('invoiced', 'invoiced'),
              ('on_hold', 'open'), ('open', 'on_hold'), ('open', 'invoiced'),
              ('open', 'cancelled'), ('invoiced', 'cancelled'), ('cancelled', 'cancelled')))
    EXECUTE FUNCTION refuse();

-- An order is cancelled only with the statement that made it, before its payments are posted.
CREATE FUNCTION an_order_is_cancelled_with_its_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM statement s WHERE s.id = NEW.statement_id AND s.state <> 'posted')
       OR EXISTS (SELECT FROM posted_payment p WHERE p.sales_order_id = NEW.id) THEN
        RAISE EXCEPTION 'sales_order: only orders of a statement that is not posted are cancelled'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER an_order_is_cancelled_with_its_statement BEFORE UPDATE ON sales_order FOR EACH ROW
    WHEN (NEW.state = 'cancelled' AND OLD.state <> 'cancelled')
    EXECUTE FUNCTION an_order_is_cancelled_with_its_statement();

-- A statement's channel belongs to its company.
CREATE FUNCTION statement_and_channel_share_the_company() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT h.company_id FROM channel h WHERE h.id = NEW.channel_id) <> NEW.company_id THEN
        RAISE EXCEPTION 'statement: its channel must be of its company'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER statement_and_channel_share_the_company BEFORE INSERT ON statement
    FOR EACH ROW EXECUTE FUNCTION statement_and_channel_share_the_company();

-- A posted or cancelled statement never changes.
CREATE TRIGGER a_posted_statement_is_frozen BEFORE UPDATE OR DELETE ON statement FOR EACH ROW
    WHEN (OLD.state IN ('posted', 'cancelled')) EXECUTE FUNCTION refuse();
CREATE TRIGGER statements_are_never_truncated BEFORE TRUNCATE ON statement
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

-- A statement is cancelled only after its sales and prepayments have left it, so that another one can take them.
CREATE FUNCTION a_cancelled_statement_has_no_sales() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM retail_transaction t WHERE t.statement_id = NEW.id)
       OR EXISTS (SELECT FROM retail_transaction t WHERE t.prepayment_statement_id = NEW.id) THEN
        RAISE EXCEPTION 'statement: a cancelled one has no sales'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a_cancelled_statement_has_no_sales BEFORE UPDATE ON statement FOR EACH ROW
    WHEN (NEW.state = 'cancelled') EXECUTE FUNCTION a_cancelled_statement_has_no_sales();

-- Tenders, totals and aggregates of a posted statement never change.
CREATE FUNCTION parts_of_a_posted_statement_are_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM statement s WHERE s.id = OLD.statement_id AND s.state = 'posted') THEN
        RAISE EXCEPTION '%: its statement is posted', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER frozen_once_posted BEFORE UPDATE OR DELETE ON statement_tender
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_posted_statement_are_frozen();
CREATE TRIGGER frozen_once_posted BEFORE UPDATE OR DELETE ON statement_total
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_posted_statement_are_frozen();
CREATE TRIGGER frozen_once_posted BEFORE UPDATE OR DELETE ON statement_aggregate
    FOR EACH ROW EXECUTE FUNCTION parts_of_a_posted_statement_are_frozen();

-- The events of a statement, and the payments it posted, stay on record.
CREATE TRIGGER events_of_statements_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
CREATE TRIGGER posted_payments_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON posted_payment
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();
