"""Work that PostgreSQL aborts, because of a deadlock or a serialization failure, is repeated.

From conftest.py: `houston` is a store on PostgreSQL.
"""

import pytest
from django.db import OperationalError, connection, connections, transaction

from stores.hqdb.retry import MAX_TRIES, retry_on_conflict
from stores.models.job import JobCode
from tests.support.channels import on_server
from tests.support.concurrency import background, is_blocking, other_session, run_together
from tests.support.convergence import assert_converges
from tests.support.make import make_customer, make_event, run
from tests.support.processes import until

pytestmark = pytest.mark.slow

LOCK_ACCOUNTS = "SELECT pg_advisory_xact_lock(hashtextextended('accounts:USRT', 0))"


@pytest.fixture
def serializable_hq(houston):
    """HQ's database begins transactions as serializable, by default."""
    name = connection.settings_dict["NAME"]
    setting = f'ALTER DATABASE "{name}" SET default_transaction_isolation'
    on_server(f"{setting} = serializable")
    connections.close_all()
    yield
    on_server(f"{setting} = DEFAULT")


@pytest.mark.fault("F-15")  # a deadlock
def test_a_conversion_aborted_by_a_deadlock_is_repeated(houston, caplog):
    make_event("address", houston, async_account=make_customer(houston))
    run(JobCode.UPLOAD)

    with background() as start, other_session() as session:
        session.execute("UPDATE company SET name = name")
        conversion = start(lambda: run("sync-customers"))
        until(lambda: is_blocking(session))
        # The conversion has this lock and waits for the company.
        session.execute(LOCK_ACCOUNTS)
    result = conversion.result()

    assert "40P01" in caplog.text, "there was no deadlock"
    assert (result["outcome"], result["counts"]["converted"]) == ("succeeded", 1)
    assert_converges(houston)


@pytest.mark.fault("F-16")  # a serialization failure
def test_jobs_do_not_depend_on_the_server_s_isolation_level(serializable_hq, houston):
    for number in range(20):
        make_customer(houston, f"Ann {number}")

    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        isolation = cursor.fetchone()
    results = run_together(
        lambda: run(JobCode.UPLOAD), lambda: run("pipeline"), lambda: run(JobCode.DOWNLOAD)
    )
    results += run_together(lambda: run("sync-customers"), lambda: run("pipeline"))

    assert isolation == ("read committed",)
    outcomes = {step["outcome"] for result in results for step in result["steps"]}
    assert outcomes <= {"succeeded", "nothing_to_do", "busy"}
    assert_converges(houston)


@pytest.mark.fault("F-16")  # a serialization failure
def test_work_is_repeated_only_a_few_times(houston):
    attempts = []

    def fail_to_serialize() -> None:
        attempts.append(1)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE EXCEPTION '' USING ERRCODE = '40001'; END $$")

    with pytest.raises(OperationalError):
        retry_on_conflict(fail_to_serialize, "convert USRT")

    assert len(attempts) == MAX_TRIES
