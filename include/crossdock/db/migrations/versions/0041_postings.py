"""The books of payments: double-entry postings whose sum the database checks, and captures that were taken back."""

from __future__ import annotations

from alembic import op

revision = "0041"
down_revision = "0040"

STATEMENTS = (
    "CREATE SEQUENCE posting_entry",
    # A debit is positive, a credit negative. The rows of one entry are written together and never changed.
    """
    CREATE TABLE posting (
        entry_id bigint NOT NULL,
        payment_id text COLLATE "C" NOT NULL REFERENCES payment ON DELETE CASCADE,
        account text NOT NULL CHECK (account IN ('gateway', 'pending', 'revenue', 'refunds', 'chargebacks')),
        gateway text COLLATE "C" NOT NULL,
        amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
        posted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (entry_id, account, gateway)
    )
    """,
    "CREATE INDEX posting_of_payment ON posting (payment_id)",
    # At the end of the transaction, whoever wrote: what does not balance is not committed.
    """
    CREATE FUNCTION refuse_unbalanced_entry() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT sum(amount_minor) FROM posting WHERE entry_id = coalesce(NEW.entry_id, OLD.entry_id)) <> 0
           OR (SELECT count(DISTINCT payment_id) FROM posting WHERE entry_id = coalesce(NEW.entry_id, OLD.entry_id)) > 1 THEN
            RAISE EXCEPTION 'the postings of entry % do not add up to zero, or are of several payments',
                            coalesce(NEW.entry_id, OLD.entry_id) USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER posting_balances AFTER INSERT OR UPDATE OR DELETE ON posting
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_unbalanced_entry()
    """,
    # Follows from the facts, as `state` does; it is here so that the alarm finds the few payments that have it.
    "ALTER TABLE payment ADD COLUMN taken_back_minor bigint NOT NULL DEFAULT 0",
    "CREATE INDEX payment_taken_back ON payment (payment_id) WHERE taken_back_minor > 0",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
