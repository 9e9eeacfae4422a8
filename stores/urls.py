"""Every route, in page order."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from stores.web.views import (
    balance,
    bulk_corrections,
    channel_setup,
    channels,
    conflicts,
    customers,
    health,
    incidents,
    orders,
    overview,
    parameters,
    promises,
    quarantine,
    runs,
    schedules,
    sessions,
    signin,
    statements,
    till,
    tokens,
    trace,
    transactions,
)


class ReferenceConverter(StringConverter):
    """What a person may look for: any text, slashes included, that a database can hold."""

    regex = r"[^\x00]+"


class CaseConverter(StringConverter):
    """The number of a quarantined row, or the event id of a staged one."""

    regex = r"[0-9a-f-]{1,36}"


register_converter(ReferenceConverter, "reference")
register_converter(CaseConverter, "case")

urlpatterns = [
    path("", overview.overview, name="home"),
    path("trace/", trace.search, name="trace-search"),
    path("trace/<reference:ref>/", trace.detail, name="trace"),
    path("async-customers/", customers.async_customer_list, name="async-customers"),
    path("customers/", customers.customer_list, name="customers"),
    path(
        "customers/<reference:account>/change/", customers.change_customer, name="change-customer"
    ),
    path("customers/<reference:account>/resend/", customers.resend, name="resend-customer"),
    path("customers/<reference:account>/push/", customers.push, name="push-customer"),
    path("customers/<reference:account>/", customers.customer_detail, name="customer"),
    path("fields-to-correct/", customers.field_list, name="fields-to-correct"),
    path("conflicts/", conflicts.conflict_list, name="conflicts"),
    path("conflicts/<int:number>/", conflicts.conflict_detail, name="conflict"),
    path("conflicts/<int:number>/close/", conflicts.close_conflict, name="close-conflict"),
    path("quarantine/", quarantine.quarantine_list, name="quarantine"),
    path("quarantine/cause/", quarantine.cause_detail, name="quarantine-cause"),
    path("quarantine/release/", quarantine.release_cases, name="quarantine-release"),
    path("quarantine/dismiss/", quarantine.dismiss_cases, name="quarantine-dismiss"),
    path("quarantine/reopen/", quarantine.reopen_cases, name="quarantine-reopen"),
    path("quarantine/<case:case>/", quarantine.case_detail, name="quarantine-case"),
    path("quarantine/<case:case>/correct/", quarantine.correct_case, name="quarantine-correct"),
    path("incidents/", incidents.incident_list, name="incidents"),
    path("incidents/<int:number>/", incidents.incident_detail, name="incident"),
    path("incidents/<int:number>/close/", incidents.close_incident, name="close-incident"),
    path("transactions/", transactions.transaction_list, name="transactions"),
    path("transactions/failed/", bulk_corrections.failed_sales, name="failed-sales"),
    path("transactions/failed/alike/", bulk_corrections.failed_cause, name="failed-cause"),
    path(
        "transactions/corrections/<uuid:correction>/",
        bulk_corrections.correction_detail,
        name="correction",
    ),
    path(
        "transactions/corrections/<uuid:correction>/undo/",
        bulk_corrections.undo_correction,
        name="undo-correction",
    ),
    path("transactions/<int:pk>/", transactions.transaction_detail, name="transaction"),
    path("transactions/<int:pk>/correct/", transactions.correct_one, name="correct-transaction"),
    path("transactions/<int:pk>/let-go/", transactions.release_transaction, name="let-go"),
    path("orders/", orders.order_list, name="orders"),
    path("orders/<int:pk>/", orders.order_detail, name="order"),
    path("orders/<int:pk>/release/", orders.release_order, name="release-order"),
    path("statements/", statements.statement_list, name="statements"),
    path("statements/<int:pk>/", statements.statement_detail, name="statement"),
    path("statements/<int:pk>/cancel/", statements.cancel_statement, name="cancel-statement"),
    path("end-of-day/", statements.end_of_day, name="end-of-day"),
    path("jobs/", runs.job_list, name="jobs"),
    path("schedules/", schedules.schedule_list, name="schedules"),
    path("schedules/add/", schedules.add_schedule, name="add-schedule"),
    path("schedules/restore/", schedules.restore_schedules, name="restore-schedules"),
    path("schedules/<int:number>/", schedules.schedule_detail, name="schedule"),
    path("schedules/<int:number>/change/", schedules.change_schedule, name="change-schedule"),
    path("schedules/<int:number>/pause/", schedules.pause_schedule, name="pause-schedule"),
    path("schedules/<int:number>/remove/", schedules.remove_schedule, name="remove-schedule"),
    path("runs/", runs.run_list, name="runs"),
    path("runs/start/", runs.start_run, name="start-run"),
    path("runs/<uuid:pk>/", runs.run_detail, name="run"),
    path("runs/<uuid:pk>/cancel/", runs.cancel_run, name="cancel-run"),
    path("sessions/uploads/", sessions.upload_list, name="uploads"),
    path("sessions/downloads/", sessions.download_list, name="downloads"),
    path("sessions/downloads/<uuid:session>/", sessions.download_detail, name="download"),
    path(
        "sessions/downloads/<uuid:session>/cancel/",
        sessions.cancel_download,
        name="cancel-download",
    ),
    path(
        "sessions/downloads/<uuid:session>/rerun/", sessions.rerun_download, name="rerun-download"
    ),
    path(
        "sessions/downloads/<uuid:session>/delete/",
        sessions.delete_download,
        name="delete-download",
    ),
    path("channels/", channels.channel_list, name="channels"),
    path("channels/add/", channel_setup.add_channel, name="add-channel"),
    path("channels/<slug:code>/", channels.channel_detail, name="channel"),
    path("channels/<slug:code>/full/", channels.send_everything, name="send-everything"),
    path("channels/<slug:code>/pause/", channels.pause_channel, name="pause-channel"),
    path("channels/<slug:code>/archive/", channels.archive, name="archive-channel"),
    path("channels/<slug:code>/databases/add/", channel_setup.add_database, name="add-database"),
    path(
        "channels/<slug:code>/databases/<int:pk>/address/",
        channel_setup.change_database,
        name="change-address",
    ),
    path("channels/<slug:code>/tokens/", tokens.tokens, name="tokens"),
    path("till/<slug:code>/", till.till, name="till"),
    path("parameters/", parameters.parameter_list, name="parameters"),
    path("balance/", balance.balance_list, name="balance"),
    path("promises/", promises.promise_list, name="promises"),
    path("sign-in/", signin.SignIn.as_view(), name="sign-in"),
    path("sign-in/<str:token>/", signin.sign_in_by_link, name="sign-in-link"),
    path("sign-out/", signin.sign_out, name="sign-out"),
    path("healthz", health.healthz, name="healthz"),
]
