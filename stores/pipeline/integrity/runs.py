"""Checks of runs: they do not overlap, they end, and their counts match the rows they wrote.

A run of a job has steps, each of which works on one place: a channel database, a channel, a
company, or all of HQ.
"""

from contextlib import AbstractContextManager

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.work_table import WorkTable, query_table
from stores.messages.message import Message
from stores.pipeline.integrity.checks import Check, DatabaseRule, check_result, count_rows
from stores.pipeline.integrity.evidence import Evidence

MISCOUNTED_RUNS = load(__file__, "miscounted_runs")


def cutoffs_of_steps() -> AbstractContextManager[WorkTable]:
    """Make a work table with the `cutoff` of each step and place.

    A row written before the cutoff must have been processed by the step; a later one is late, which
    is no error. The cutoff is five minutes before the start of the last successful run. Runs before
    an incident or a repair of the database do not count, nor steps while they were paused.
    """
    return query_table(
        "step_cutoff",
        """SELECT step.step, step.database_id, step.company_id,
                  max(step.started_at) - interval '5 minutes' AS cutoff
             FROM run_step step
             LEFT JOIN (SELECT database_id, max(last_seen_at) AS at
                          FROM incident GROUP BY database_id) incident USING (database_id)
             LEFT JOIN (SELECT database_id, max(ended_at) AS at
                          FROM run_step WHERE step = 'repair'
                         GROUP BY database_id) repair USING (database_id)
             LEFT JOIN (SELECT id AS database_id, 'download' AS step,
                               downloads_paused_at AS paused_at, downloads_resumed_at AS resumed_at
                          FROM channel_database
                        UNION ALL
                        SELECT id, 'upload', uploads_paused_at, uploads_resumed_at
                          FROM channel_database) pause USING (database_id, step)
            WHERE step.status IN ('succeeded', 'nothing_to_do')
              AND step.started_at
                  > coalesce(greatest(incident.at, repair.at, pause.resumed_at), '-infinity')
              AND pause.paused_at IS NULL
            GROUP BY step.step, step.database_id, step.company_id""",
    )


def runs_do_not_overlap(evidence: Evidence) -> Check:
    return check_result(
        "I28",
        Message("promise_I28"),
        count_rows("job_run"),
        DatabaseRule("unique index", "job_run", "one_live_run_per_job_and_scope"),
        DatabaseRule("trigger", "run_step", "fencing_numbers_only_grow"),
        """SELECT job, scope, count(*) AS live FROM job_run
            WHERE status IN ('queued', 'running') GROUP BY job, scope HAVING count(*) > 1""",
        """SELECT fencing_no, count(*) AS steps FROM run_step WHERE fencing_no IS NOT NULL
            GROUP BY fencing_no HAVING count(*) > 1
                OR fencing_no > (SELECT last_value FROM run_step_fencing)""",
    )


# The number of rows with the id of each run, by the name of the count in its steps.
CARRIED = {
    "converted": """SELECT run_id, count(*) AS carried FROM guid_map
                     WHERE origin = 'created' GROUP BY run_id""",
    "staged": "SELECT run_id, sum(staged) AS carried FROM upload_session GROUP BY run_id",
    # A package that arrived in part is counted when the rest arrives.
    "distributed": """SELECT run_id, sum(customers) AS carried FROM download_session
                       WHERE status = 'applied' GROUP BY run_id""",
}


def runs_end_and_count_truly(evidence: Evidence) -> Check:
    return check_result(
        "I29",
        Message("promise_I29"),
        count_rows("job_run"),
        """SELECT run_id::text AS run, step, 'silent beyond its lease' AS what FROM run_step
            WHERE status = 'running' AND lease_until < clock_timestamp() - interval '5 minutes'""",
        """SELECT run.id::text AS run, run.job, 'has no step left, and has not ended' AS what
             FROM job_run run
            WHERE run.ended_at IS NULL
              AND NOT EXISTS (SELECT FROM run_step step
                               WHERE step.run_id = run.id AND step.stage = run.stage
                                 AND step.status IN ('queued', 'running'))""",
        """SELECT run.id::text AS run, run.job, 'has a step without end' AS what
             FROM job_run run JOIN run_step step ON step.run_id = run.id
            WHERE run.ended_at IS NOT NULL AND step.ended_at IS NULL
            GROUP BY run.id, run.job""",
        *(miscounted(word) for word in CARRIED),
        late=count_rows("run_step", "status = 'running' AND lease_until < clock_timestamp()"),
    )


def miscounted(word: str) -> sql.Composed:
    """Return the query for runs with more or fewer rows than they counted."""
    return MISCOUNTED_RUNS.format(word=sql.Literal(word), carried=sql.SQL(CARRIED[word]))


def idle_runs_leave_nothing(evidence: Evidence) -> Check:
    return check_result(
        "I32",
        Message("promise_I32"),
        count_rows("job_run", "status = 'nothing_to_do'"),
        """SELECT run.id::text AS run, run.job, 'uploaded' AS what
             FROM upload_session session JOIN job_run run ON run.id = session.run_id
            WHERE run.status = 'nothing_to_do' AND session.staged + session.quarantined > 0""",
        """SELECT run.id::text AS run, run.job, 'distributed' AS what
             FROM download_session session JOIN job_run run ON run.id = session.run_id
            WHERE run.status = 'nothing_to_do' AND session.customers > 0""",
        """SELECT run.id::text AS run, run.job, 'gave an account' AS what
             FROM (SELECT DISTINCT run_id FROM guid_map) created
             JOIN job_run run ON run.id = created.run_id
            WHERE run.status = 'nothing_to_do'""",
        """SELECT run.id::text AS run, run.job, 'applied an event' AS what
             FROM job_run run
            WHERE run.status = 'nothing_to_do'
              AND (EXISTS (SELECT FROM settled_event settled WHERE settled.run_id = run.id)
                   OR EXISTS (SELECT FROM upload_batch batch
                                JOIN staged_customer event ON event.batch_id = batch.id
                               WHERE batch.run_id = run.id AND event.status = 'applied'))""",
    )
