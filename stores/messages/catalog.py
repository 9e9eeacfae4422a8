"""What each code of a message says. To reword or translate Syncline's messages, change them here.

Parameters stand as %(name)s. A number is shown with its digits grouped; `ngettext_lazy` names the
one that decides between singular and plural. `makemessages` finds the texts by the names of the two
functions. Those of reasons are in `stores.messages.reasons`.
"""

from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from stores.messages.reasons import REASONS

TEXTS: dict[str, Any] = {
    # ------------------------------------------------------------------ parts of sentences
    "both": _("%(first)s and %(second)s"),
    "listed": _("%(listed)s"),
    "listed_and_more": _("%(listed)s and %(count)s more"),
    "more": ngettext_lazy("And %(count)s more.", "And %(count)s more.", "count"),
    # What a database said.
    "quoted": _("%(text)s"),
    # ------------------------------------------------------- how runs and their steps ended
    "busy_elsewhere": _("Another run is already doing this step here."),
    "cancelled": _("Cancelled."),
    "counts": _("%(counts)s."),
    "done": _("Done."),
    "downloads_on_hold": _("%(customers)s pending for %(database)s, whose downloads are paused."),
    "downloads_suspended": _(
        "%(customers)s pending for %(database)s, whose downloads are suspended."
    ),
    "no_changes": _("No changes (%(counts)s)."),
    "no_progress": _("No progress for %(seconds)s s; its worker was stopped."),
    "nothing_to_do": _("Nothing to do."),
    "order_made": _("Nothing to do: the order is already %(order)s."),
    "order_taken": _(
        "Nothing to do: someone is correcting the order, or another run is processing it."
    ),
    "run_ended": _("The run ended before."),
    "run_follows": _("This run follows it."),
    "starter_refused": _("Refused: %(user)s no longer has permission to start this."),
    "stopped": _("Stopped. Committed changes are kept."),
    "uploads_paused": _("Uploads from %(database)s are paused."),
    "unexpected_error": _("Unexpected error; see the run's technical details."),
    "unexpected_error_of_kind": _("Unexpected error (%(error)s); see the run's technical details."),
    "worker_gone": _("The process running it is gone."),
    "customers": ngettext_lazy("%(count)s customer", "%(count)s customers", "count"),
    "more_customers": ngettext_lazy(
        "More than %(count)s customer", "More than %(count)s customers", "count"
    ),
    # ------------------------------------------------------------------------ counts of runs
    "count_checked": ngettext_lazy("%(count)s checked", "%(count)s checked", "count"),
    "count_compared": ngettext_lazy("%(count)s compared", "%(count)s compared", "count"),
    "count_converted": ngettext_lazy("%(count)s converted", "%(count)s converted", "count"),
    "count_distributed": ngettext_lazy("%(count)s distributed", "%(count)s distributed", "count"),
    "count_failed": ngettext_lazy("%(count)s failed", "%(count)s failed", "count"),
    "count_linked": ngettext_lazy("%(count)s linked", "%(count)s linked", "count"),
    "count_posted": ngettext_lazy("%(count)s posted", "%(count)s posted", "count"),
    "count_quarantined": ngettext_lazy("%(count)s quarantined", "%(count)s quarantined", "count"),
    "count_of_others": ngettext_lazy("%(count)s %(word)s", "%(count)s %(word)s", "count"),
    "count_read": ngettext_lazy("%(count)s read", "%(count)s read", "count"),
    "count_reopened": ngettext_lazy("%(count)s reopened", "%(count)s reopened", "count"),
    "count_staged": ngettext_lazy("%(count)s staged", "%(count)s staged", "count"),
    "count_unchanged": ngettext_lazy("%(count)s unchanged", "%(count)s unchanged", "count"),
    "count_updated": ngettext_lazy("%(count)s updated", "%(count)s updated", "count"),
    "count_waiting": ngettext_lazy("%(count)s waiting", "%(count)s waiting", "count"),
    # ------------------------------------------------------- account numbers and the journal
    "account_numbers": ngettext_lazy(
        "%(count)s account number", "%(count)s account numbers", "count"
    ),
    "hq_moved": _(
        "Headquarters runs on another server or database than before: no account number is issued"
        " until every channel was visited."
    ),
    "invoice_numbers_up_to": _("invoice numbers up to %(number)s (%(company)s)"),
    "invoices_issued": _("invoices %(first)s to %(last)s (%(company)s)"),
    "issuing_blocked": _(
        "No account number is issued until incident %(incident)s is closed: %(why)s"
    ),
    "journal_ahead": _(
        "The number journal holds %(numbers)s that headquarters does not know: it was restored from"
        " an older backup."
    ),
    "journal_damaged": _("The number journal is damaged: its first line does not identify it."),
    "journal_unusable": _(
        "The number journal cannot be written: %(error)s. No account number is issued, and numbers"
        " that are not in it stay at headquarters."
    ),
    "channels_not_compared": _(
        "No number is issued yet: some channels have not been visited since headquarters' database"
        " server was started. The next upload or conversion visits them."
    ),
    "no_channel_visited": _(
        "No number is issued: since headquarters' database server was started no channel could be"
        " visited."
    ),
    "not_visited_since": _("Not visited since: %(channels)s."),
    "numbers_forgotten": _(
        "Headquarters had issued %(documents)s before it was restored from an older backup, and no"
        " longer knows them. Nothing is posted until someone has reviewed them."
    ),
    "numbers_up_to": _("%(series)s numbers up to %(number)s (%(company)s)"),
    "order_numbers_up_to": _("order numbers up to %(number)s (%(company)s)"),
    "orders_issued": _("orders %(first)s to %(last)s (%(company)s)"),
    "posting_blocked": _("Nothing is posted until incident %(incident)s is closed: %(why)s"),
    # ------------------------------------------------- what is wrong with a channel, or with HQ
    "accounts_contradict": _(
        "it holds another account for a customer than headquarters. Nothing was overwritten."
    ),
    "channel_blocked": _("Channel %(channel)s is blocked until incident %(incident)s is closed."),
    "channel_forked": _(
        "its database shows a visit that this headquarters did not make: there are two copies of"
        " it, or a second headquarters visits it."
    ),
    "channel_restored": _(
        "its database was restored from an older backup. What it lacks will be sent again."
    ),
    "channel_reports": _("Channel %(channel)s: %(problem)s"),
    "event_too_large": _(
        "Channel %(channel)s: an event in %(tables)s is too large to be fetched. It stays there."
    ),
    "events_deleted": _(
        "Channel %(channel)s: events in %(tables)s were deleted before they were acknowledged."
        " Headquarters holds them."
    ),
    "hq_behind": _(
        "its database knows more than headquarters: headquarters was restored from an older"
        " backup, or a second one visits the channel."
    ),
    "message_refused": _(
        "The queue held a message that is not a step of a run; nothing of it was carried out. Find"
        " out who else can write to Redis."
    ),
    "no_identity": _("its database has no identity."),
    "numbers_seen": _("It has seen %(numbers)s."),
    "restored_twice": _(
        "its database was restored from a backup twice within a day: two copies of it seem to"
        " answer in turn."
    ),
    "rows_unusable": ngettext_lazy(
        "One visit to %(channel)s brought %(count)s row that cannot be used.",
        "One visit to %(channel)s brought %(count)s rows that cannot be used.",
        "count",
    ),
    "step_given_up": ngettext_lazy(
        "%(run)s: %(step)s lost its process %(times)s time and failed.",
        "%(run)s: %(step)s lost its process %(times)s times and failed.",
        "times",
    ),
    "wrong_database": _("its address leads to a different database than the registered one."),
    # Numbers that a channel has seen, and the last one here.
    "account_number_seen": _("account number %(number)s of %(company)s (here: %(known)s)"),
    "change_seen": _("change %(number)s of %(company)s (here: %(known)s)"),
    "invoice_number_seen": _("invoice number %(number)s of %(company)s (here: %(known)s)"),
    "number_seen": _("%(series)s number %(number)s of %(company)s (here: %(known)s)"),
    "order_number_seen": _("order number %(number)s of %(company)s (here: %(known)s)"),
    # ------------------------------------------------ what a comparison with a channel has found
    "differences": _("Differences: %(differences)s."),
    "difference": _("Channel %(channel)s: %(difference)s."),
    "difference_changed": ngettext_lazy(
        "%(count)s event with other content than headquarters holds",
        "%(count)s events with other content than headquarters holds",
        "count",
    ),
    "difference_different": ngettext_lazy(
        "%(count)s row of customers with other content than headquarters sent",
        "%(count)s rows of customers with other content than headquarters sent",
        "count",
    ),
    "difference_foreign_account": ngettext_lazy(
        "%(count)s account that headquarters did not give",
        "%(count)s accounts that headquarters did not give",
        "count",
    ),
    "difference_gone_from_channel": ngettext_lazy(
        "%(count)s gone from the channel", "%(count)s gone from the channel", "count"
    ),
    "difference_not_arrived": ngettext_lazy(
        "%(count)s customer that did not arrive",
        "%(count)s customers that did not arrive",
        "count",
    ),
    "difference_not_sent": ngettext_lazy(
        "%(count)s row of customers that headquarters did not send",
        "%(count)s rows of customers that headquarters did not send",
        "count",
    ),
    "difference_unknown_at_hq": ngettext_lazy(
        "%(count)s acknowledged and unknown to headquarters",
        "%(count)s acknowledged and unknown to headquarters",
        "count",
    ),
    "difference_without_header": ngettext_lazy(
        "%(count)s sale of which only lines or payments are there",
        "%(count)s sales of which only lines or payments are there",
        "count",
    ),
    "promises_broken": ngettext_lazy(
        "%(count)s of %(checked)s promises is broken: %(promises)s.",
        "%(count)s of %(checked)s promises are broken: %(promises)s.",
        "count",
    ),
    # --------------------------------------------------------------------------- promises
    "promise_I1": _("One GUID has at most one account."),
    "promise_I2": _("Each account has exactly one GUID that created it; any other GUID is linked."),
    "promise_I3": _(
        "A company's account numbers have no gap and no duplicate, and none is above the next"
        " number to issue."
    ),
    "promise_I4": _(
        "Account numbers follow the format of their company, which never changes once used."
    ),
    "promise_I5": _(
        "A GUID keeps its account forever: at headquarters, in its events and in the channels."
    ),
    "promise_I6": _(
        "An account belongs to the company of the channel that sent its GUID. Channels see"
        " only their own company's accounts, and can change only GUIDs that they created or"
        " received."
    ),
    "promise_I7": _(
        "Every event acknowledged in a channel is at headquarters, or in quarantine there."
    ),
    "promise_I8": _("Uploads have skipped no event, and no line or payment lacks its header."),
    "promise_I9": _(
        "Headquarters has no event that its channel never had, unless the channel was"
        " restored or the event is past its retention time."
    ),
    "promise_I10": _(
        "Headquarters shows the latest event of each source, and no edit that had not seen a"
        " removal has undone it (%(sample)s)."
    ),
    "promise_I11": _(
        "Every row that an upload read is accounted for, and a recount agrees, for every"
        " upload and day."
    ),
    "promise_I12": _(
        "A quarantined row is kept whole, with its reason, and is pending nowhere else."
    ),
    "promise_I13": _(
        "Account, customer, applied event and the change that channels are sent are created"
        " together."
    ),
    "promise_I14": _(
        "Everything that waits or failed has a reason, and nothing waits for what has already"
        " arrived."
    ),
    "promise_I15": _(
        "Every address has one owner, at most one is primary for each purpose, and none is lost."
    ),
    "promise_I16": _(
        "Fields are as the till wrote them, apart from the documented normalization (%(sample)s)."
    ),
    "promise_I17": _(
        "Every account that a channel knows is the one headquarters assigned to the GUID."
    ),
    "promise_I18": _(
        "Every enabled channel has the account of every GUID of its company, or its delivery"
        " is pending and no download has skipped it."
    ),
    "promise_I19": _(
        "What a channel says it has is there, in that version or a newer one. Headquarters"
        " has noted no more, and when it was sent; and every package is as it was made."
    ),
    "promise_I19_with_content": _(
        "What a channel says it has is there, in that version or a newer one, with the same"
        " content. Headquarters has noted no more, and when it was sent; and every package is"
        " as it was made."
    ),
    "promise_I20": _(
        "A till's search shows each person once, by account or as pending, and never by a GUID."
    ),
    "promise_I21": _("Every sale written at a till is kept exactly once, or is in quarantine."),
    "promise_I22": _(
        "Every accepted sale adds up exactly: lines, payments and total. A posted order"
        " equals its payments and the recorded differences."
    ),
    "promise_I23": _(
        "No sale, order or payment is posted under a temporary identity: each has an account."
    ),
    "promise_I24": _(
        "Every sale is in exactly one posted statement and one order, and every prepayment in"
        " exactly one posted statement, or it is listed as excluded with the reason."
    ),
    "promise_I25": _(
        "A statement posts exactly what was paid for its sales and orders, per tender and"
        " currency. With the exclusions, that is everything paid on the business date."
    ),
    "promise_I26": _(
        "A posted statement never changes: the hash of its rows is the one taken when it was"
        " posted."
    ),
    "promise_I27": _(
        "Every customer order becomes at most one sales order, whose state only moves forward."
    ),
    "promise_I28": _("At most one run of a job and scope is live, and fencing numbers only grow."),
    "promise_I29": _(
        "Every run ends, no step of it is lost, and its counts match the rows with its ID."
    ),
    "promise_I30": _(
        "Every channel is the registered database, in the state of its last visit, or an"
        " incident is open."
    ),
    "promise_I31": _(
        "No channel and no number journal knows a number that headquarters has yet to issue."
    ),
    "promise_I32": _(
        "A run with nothing to do leaves nothing behind: no session with rows, no account, no"
        " applied event."
    ),
    "promise_I33": _(
        "The event shown depends on the events, not on the order of their arrival (%(sample)s)."
    ),
    "promise_I34": _(
        "No event counts as later than its arrival, whatever the till's clock says, and"
        " nothing arrived in the future (%(sample)s)."
    ),
    "promise_I40": _(
        "Events never change: headquarters has them as their channel has them (%(sample)s)."
    ),
    "every_customer": _("every customer"),
    "every_event": _("every event"),
    "sample_of_customers": _("a sample of customers"),
    "sample_of_events": _("a sample of events that moves on every day"),
    # ---------------------------------------------------------- rows that a database refuses
    "customers_refused": ngettext_lazy(
        "Channel %(channel)s refuses customer %(accounts)s (%(errors)s).",
        "Channel %(channel)s refuses customers %(accounts)s (%(errors)s).",
        "count",
    ),
    "later_downloads_wait": _("In strict order, all later downloads wait."),
    "others_go_on": _("The others go on."),
    "rows_refused_by_channel": ngettext_lazy(
        "Channel %(channel)s refuses %(count)s row of %(rows)s (%(errors)s). It waits, the others"
        " go on.",
        "Channel %(channel)s refuses %(count)s rows of %(rows)s (%(errors)s). They wait, the others"
        " go on.",
        "count",
    ),
    "rows_refused_by_hq": ngettext_lazy(
        "Headquarters' database refuses %(count)s row of %(rows)s (%(errors)s). It waits, the"
        " others go on.",
        "Headquarters' database refuses %(count)s rows of %(rows)s (%(errors)s). They wait, the"
        " others go on.",
        "count",
    ),
    "days_of_balance": _("days of the balance of %(company)s"),
    "events": _("events"),
    "events_of_company": _("events of %(company)s"),
    "quarantine_of_company": _("quarantine of %(company)s"),
    # --------------------------------------------------------------------- download sessions
    "download_arrived": _("The channel has its package already."),
    "download_canceled": _(
        "Someone canceled the session. The next download sends what the database lacks."
    ),
    "download_canceled_by_hand": _("Canceled by hand."),
    "download_replaced": _("Another package brings what it would have brought."),
    "downloads_held": _("Downloads to this database are paused."),
    "package_blocks": _(
        "The channel refuses some of its customers; in strict order, later packages wait for it."
    ),
    "package_dropped": _("The data of its package is no longer there."),
    "package_empty": _(
        "What the database lacks may not leave headquarters yet: see the number journal."
    ),
    "package_impossible": _("Headquarters cannot make the next package (%(error)s)."),
    "single_customers_refused": _("The channel refuses these customers."),
    # ---------------------------------------------------------------------------- statements
    "accounts_not_active": ngettext_lazy(
        "%(count)s customer's account is no longer active.",
        "%(count)s customers' accounts are no longer active.",
        "count",
    ),
    "day_refused": _("%(channel)s %(day)s: %(why)s (%(error)s)"),
    "no_default_customer": _("The channel has no default customer for anonymous sales."),
    "period_closed": _("Its business date is in a closed period."),
    "sales_removed": ngettext_lazy(
        "%(count)s sale was removed: %(why)s", "%(count)s sales were removed: %(why)s", "count"
    ),
    "sales_without_account": ngettext_lazy(
        "%(count)s sale has a customer without an account.",
        "%(count)s sales have a customer without an account.",
        "count",
    ),
    "state_not_reached": _("%(state)s was not reached: %(why)s"),
    "state_reached": _("%(state)s."),
    "statement_cancelled": ngettext_lazy(
        "Cancelled, %(count)s sale released: %(reason)s",
        "Cancelled, %(count)s sales released: %(reason)s",
        "count",
    ),
    "statement_error": _("%(why)s (%(error)s)"),
    "statement_replaces": _("Created in place of %(statement)s."),
    "statement_restarted": _("Restarted: more sales of the day have arrived."),
    "statement_started": _("Started."),
    "statement_stuck": _("%(statement)s: %(why)s"),
    "time_zone_unknown": _(
        "%(channel)s: headquarters' database does not know its time zone %(time_zone)s, so its"
        " business days cannot end. Choose another time zone in the channel's settings."
    ),
    # The states that a run brings a statement to.
    "state_marked": _("Marked"),
    "state_calculated": _("Calculated"),
    "state_checked": _("Checked"),
    "state_aggregated": _("Aggregated"),
    "state_orders_created": _("Customer orders created"),
    "state_invoiced": _("Invoiced"),
    "state_payments_posted": _("Payments posted"),
    "state_posted": _("Posted"),
    # ------------------------------------------- databases of channels that cannot be used
    "channel_already_open": _("Channel %(channel)s is already open in this thread."),
    "channel_busy": _("Channel %(channel)s is busy."),
    "channel_denies_privilege": _("Channel %(channel)s does not grant HQ's role this privilege."),
    "channel_drifted": _("Channel %(channel)s: its tables were changed: %(first)s."),
    "channel_drifted_more": _(
        "Channel %(channel)s: its tables were changed: %(first)s, and %(count)s more."
    ),
    "channel_encoding_lossy": _(
        "Channel %(channel)s uses an encoding that cannot hold every name."
    ),
    "channel_file_damaged": _("Channel %(channel)s has a damaged file."),
    "channel_file_absent": _("Channel %(channel)s: there is no such file."),
    "channel_file_impossible": _("Channel %(channel)s: its file cannot be created."),
    "channel_file_is_another": _("Channel %(channel)s has a file that is not a SQLite database."),
    "channel_full": _("Channel %(channel)s has no room left."),
    "channel_read_only": _("Channel %(channel)s is read-only."),
    "channel_role_missing": _(
        'Channel %(channel)s: the role "%(role)s" does not exist on its server.'
    ),
    "channel_text_invalid": _(
        "Channel %(channel)s holds bytes that are not valid in its encoding."
    ),
    "channel_too_many_connections": _("Channel %(channel)s accepts no more connections."),
    "channel_too_slow": _("Channel %(channel)s is too slow: a statement timed out."),
    "channel_unmigrated": _(
        "Channel %(channel)s has no Syncline tables, or old ones: run migrate_channels %(code)s."
    ),
    "channel_unreachable": _("Channel %(channel)s cannot be reached."),
    # Why it cannot be reached, where that is known.
    "channel_database_closed": _(
        "Channel %(channel)s cannot be reached: HQ's user may not connect to its database."
    ),
    "channel_database_gone": _(
        "Channel %(channel)s cannot be reached: its server has no such database."
    ),
    "channel_file_gone": _(
        "Channel %(channel)s cannot be reached: its file is missing or cannot be opened."
    ),
    "channel_line_insecure": _(
        "Channel %(channel)s cannot be reached: its server offers no TLS, or a certificate that HQ"
        " does not trust."
    ),
    "channel_name_unknown": _(
        "Channel %(channel)s cannot be reached: the name of its server is unknown."
    ),
    "channel_newer": _(
        "Channel %(channel)s: its tables were made by a newer version of Syncline (%(migration)s)."
        " Update headquarters first."
    ),
    "channel_of_another": _(
        "Channel %(channel)s: its database is that of channel %(other)s, or a copy of it."
    ),
    "channel_of_another_hq": _(
        "Channel %(channel)s: its database belongs to another headquarters, which visits it or has"
        " visited it."
    ),
    "channel_no_route": _("Channel %(channel)s cannot be reached: no network leads to its server."),
    "channel_not_let_in": _(
        "Channel %(channel)s cannot be reached: the access rules of its server (pg_hba.conf) do"
        " not let HQ in."
    ),
    "channel_nothing_listens": _(
        "Channel %(channel)s cannot be reached: nothing listens on the port of its server."
    ),
    "channel_password_refused": _(
        "Channel %(channel)s cannot be reached: its server refuses HQ's user or password."
    ),
    "channel_server_starting": _(
        "Channel %(channel)s cannot be reached: its server is starting or stopping."
    ),
    "channel_silent": _("Channel %(channel)s cannot be reached: its server does not answer."),
    "channel_turned_away": _(
        "Channel %(channel)s cannot be reached: its server does not let HQ in."
    ),
    "channel_without_roles": _(
        "Channel %(channel)s is a SQLite file, which has no roles: give the till's user access to"
        " the file instead."
    ),
    "privileges_missing": _("Channel %(channel)s: HQ's user lacks %(privileges)s."),
    # What a test of the connection says of a step that works, or that adding the database mends.
    "check_address": _("It is complete, and HQ may connect there."),
    "check_name": _("The name of the server is known."),
    "check_line": _("The server answers."),
    "check_sign_in": _("The server lets HQ in."),
    "check_database": _("It is there."),
    "check_database_to_make": _("It is not there yet. Adding it makes it."),
    "check_rights": _("HQ may do what it needs."),
    "check_tables": _("They are as this version needs them."),
    "check_tables_to_make": _(
        "There are none yet. Adding the database makes them, as does create_channel."
    ),
    "check_tables_to_update": _(
        "They are of an older version. Adding the database updates them, as does migrate_channels."
    ),
    "check_owner": _("It belongs to no other channel, and to no other headquarters."),
    "check_owner_changed": _(
        "It is another database than the registered one. The next visit opens an incident, which"
        " you close once you are sure."
    ),
    "check_owner_renewed": _("It is a copy. Adding it gives it an identity of its own."),
    "renew_identity": _("If it is a copy, --renew-identity gives it an identity of its own."),
    # What helps where a test of the connection fails.
    "remedy_database_closed": _("Grant it CONNECT on the database."),
    "remedy_database_gone": _("Create it there: empty, in UTF-8."),
    "remedy_line_insecure": _(
        "Give the server a certificate that names it, or name its authority as sslrootcert."
    ),
    "remedy_name_unknown": _("Check its spelling, and that HQ's name server knows it."),
    "remedy_not_let_in": _("Add a line for HQ's address there."),
    "remedy_nothing_listens": _(
        "Check the port, and that the server runs and listens to other computers."
    ),
    "remedy_password_refused": _("Check both."),
    "remedy_silent": _("Check the address, and the firewalls on the way."),
    "remedy_privileges_missing": _(
        "The administrator of the database can grant it: see Rights in the manual."
    ),
    "recreate_tables": _("Run migrate_channels %(code)s to create it again."),
    "table_of_another": _(
        "Channel %(channel)s: its database holds a table %(table)s that Syncline did not create."
    ),
    # ------------------------------ what should happen by itself and does not; the next step
    "add_schedule": _("Add a schedule of the pipeline, or switch it on or resume it."),
    "check_pipeline": _(
        "Check the latest runs, the scheduler and the workers, or run the pipeline by hand."
    ),
    "check_queue": _("Check Redis or Valkey. Waiting jobs are saved and start automatically."),
    "more_schedules_missed": ngettext_lazy(
        "%(count)s more schedule overdue.", "%(count)s more schedules overdue.", "count"
    ),
    "no_pipeline_for": _(
        "No pipeline run has ended for %(minutes)s minutes: channels are not being visited."
    ),
    "no_pipeline_since": _(
        "No pipeline run has ended since %(moment)s: channels are not being visited."
    ),
    "no_pipeline_yet": _("No pipeline run has ended yet: channels are not being visited."),
    "no_scheduler": _("No scheduler is running: no job starts on schedule."),
    "no_worker": _("No worker is running: started jobs are waiting."),
    "not_scheduled": _(
        "No schedule covers %(steps)s for %(channels)s: customers get no further by themselves."
    ),
    "queue_away": _("The queue is not responding: started jobs are waiting."),
    "resume_schedule": _("Resume it if the reason is gone."),
    "schedule_missed": _("%(job)s was due at %(due)s and has not started."),
    "schedule_paused": _("The schedule of %(job)s (%(about)s) is paused since %(since)s: %(why)s"),
    "see_schedules": _("Look at all schedules."),
    "start_scheduler": _("Start one: python3 manage.py scheduler. Jobs started by hand still run."),
    "start_worker": _(
        "Start one: python3 manage.py worker. Waiting jobs are saved and start automatically."
    ),
    "starts_late": _("It starts as soon as a scheduler is running. You can also start it by hand."),
    "starts_next_time": _(
        "It starts next time if a scheduler is running. You can also start it by hand."
    ),
    # What is wrong with the address of a channel's database.
    "address_refused": _("Channel %(channel)s has an address that is refused: %(why)s."),
    "address_needs_database": _("it must name a database, in up to 63 bytes"),
    "address_needs_one_host": _("it must name one host, or the folder of a socket as ?host=/path"),
    "address_not_a_url": _("it is not a URL"),
    "address_of_hq": _("this is HQ's own database"),
    "embedded_name_invalid": _("embedded: needs a name of lower-case letters, digits and _"),
    "environment_name_invalid": _("env: must name a variable CHANNEL_DSN_…"),
    "environment_value_invalid": _("%(name)s must hold postgresql://… or sqlite:///…"),
    "environment_value_missing": _("%(name)s is not set in the environment"),
    "secret_file_invalid": _("file:%(name)s must hold one line of text"),
    "secret_file_missing": _("there is no file %(name)s in SYNCLINE_SECRETS_DIR"),
    "secret_file_outside": _("file:%(name)s leads out of SYNCLINE_SECRETS_DIR"),
    "secret_file_unreadable": _("HQ may not read the file %(name)s in SYNCLINE_SECRETS_DIR"),
    "secret_name_invalid": _("file: must name a file in SYNCLINE_SECRETS_DIR, without a folder"),
    "secrets_folder_missing": _("file: needs the setting SYNCLINE_SECRETS_DIR"),
    "secrets_key_missing": _("its password is encrypted, and SYNCLINE_SECRETS_KEY is not set"),
    "secrets_key_wrong": _("no key of headquarters decrypts its password"),
    "file_is_no_file": _("the path leads to something that is not a file"),
    "file_outside": _("the file lies outside SYNCLINE_DATA_DIR"),
    "host_not_allowed": _(
        "its host is not a public address, and SYNCLINE_CHANNEL_HOSTS does not allow it"
    ),
    "parameters_not_allowed": _("of parameters it takes %(allowed)s only"),
    "path_invalid": _("sqlite:/// needs a plain path below SYNCLINE_DATA_DIR"),
    "path_unfollowable": _("the path cannot be followed"),
    "scheme_unknown": _(
        "it must be postgresql://…, sqlite:///…, env:CHANNEL_DSN_…, file:… or embedded"
    ),
    "tls_required": _("in production a remote host needs sslmode=verify-full"),
    # What an error of each kind says if there is nothing more to say.
    "any_channel_already_open": _(
        "The channel is already open in this thread: pass its alias on instead of opening it again."
    ),
    "any_channel_blocked": _(
        "The channel's database is not visited until a person has closed its incident."
    ),
    "any_channel_busy": _(
        "The channel's database is held by somebody else; a later try may succeed."
    ),
    "any_channel_contradicts": _(
        "The channel knows an account otherwise than HQ, and nothing was written."
    ),
    "any_channel_drifted": _("The tables of the channel's database are not as Syncline made them."),
    "any_channel_misconfigured": _(
        "The address of the channel's database is not one that Syncline accepts."
    ),
    "any_channel_moved": _(
        "The channel has another position than headquarters saw, and nothing was written."
    ),
    "any_channel_taken_over": _("Another visit has taken the channel over."),
    "any_channel_unmigrated": _("The channel's database has no Syncline tables, or old ones."),
    "any_channel_unreachable": _("The channel's database cannot be reached."),
    "any_channel_unusable": _("The channel's database cannot be used."),
    "no_channel_chosen": _(
        "No channel was chosen: open one with connect() and name its alias with using()."
    ),
}
# A reason is a message too, about a column or about the whole row.
TEXTS |= {f"reason_{code}": _(reason.text) for code, reason in REASONS.items()}
