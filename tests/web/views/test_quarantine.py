"""The pages of quarantine: rows by cause, a single row, and what each role may do with them.

From conftest.py: `houston` is a store on PostgreSQL; `command` calls a management command and
returns its output; `reader` is a client of a user who may see every page; `boss` is a client of an
administrator; `user_of` makes a client of a user with a role.
"""

import json
import time
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from django.utils import timezone
from django.utils.html import escape

from stores.models import (
    AsyncCustomer,
    Case,
    ChannelDatabase,
    Quarantine,
    RetailTransaction,
    UploadSession,
)
from stores.models.job import JobCode
from stores.pipeline.corrections.case import comparable_value
from tests.support.make import (
    article,
    make_customer,
    make_event,
    make_sale,
    only_case,
    query,
    run,
)
from tests.support.pages import text_of
from tests.support.staged import overwrite_events

CAUSE = "houston:async_customer:email_format:email"
CAUSE_URL = f"/quarantine/cause/?cause={CAUSE}"
LONG = 60_000
CASH = {"tender_type": "cash", "amount": "10.70", "currency": "USD"}


@pytest.fixture
def row_url(houston) -> str:
    """The URL of the first of two rows with the same cause."""
    make_customer(houston, "Canary", email="nobody")
    make_customer(houston, "Canary", email="nowhere")
    run(JobCode.UPLOAD)
    return f"/quarantine/{Quarantine.objects.order_by('pk')[0].pk}/"


def case_in(row_url: str) -> str:
    """The id of the row that a URL leads to."""
    return row_url.split("/")[2]


def statuses() -> set[str]:
    return set(Quarantine.objects.values_list("status", flat=True))


def test_the_list_links_to_the_rows_of_a_cause(reader, row_url):
    causes = text_of(reader.get("/quarantine/"))
    rows = text_of(reader.get(CAUSE_URL))

    assert f"/quarantine/cause/?cause={CAUSE.replace(':', '%3A')}" in causes
    assert "2 rows in <code>async_customer</code> from houston" in rows


def test_only_users_who_may_settle_a_row_see_its_values(user_of, row_url):
    viewer, operator = user_of("viewer"), user_of("operator")

    for url in ("/quarantine/", CAUSE_URL, row_url):
        page = text_of(viewer.get(url))
        assert "Canary" not in page
        assert "nobody" not in page
    assert "Canary" in text_of(operator.get(row_url))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "action"), [("operator", "release"), ("manager", "release"), ("manager", "dismiss")]
)
def test_a_role_with_the_permission_settles_rows(user_of, row_url, role, action):
    form = {"cause": CAUSE, "reason": "A test till.", "sure": "yes"}

    response = user_of(role).post(f"/quarantine/{action}/", form)

    assert response.status_code == 302
    # Rows that still break their rule stay open after a release.
    assert statuses() == {"dismissed" if action == "dismiss" else "open"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "action"),
    [
        ("viewer", "release"),
        ("viewer", "dismiss"),
        ("operator", "dismiss"),
        ("auditor", "dismiss"),
    ],
)
def test_a_role_without_the_permission_settles_no_rows(user_of, row_url, role, action):
    form = {"cause": CAUSE, "reason": "A test till.", "sure": "yes"}

    response = user_of(role).post(f"/quarantine/{action}/", form)

    assert response.status_code == 403
    assert "quarantined rows. It is granted to the group" in response.content.decode()
    assert statuses() == {"open"}


def test_a_button_is_shown_only_to_roles_that_may_use_it(user_of, row_url):
    pages = {
        role: text_of(user_of(role).get(row_url)) for role in ("viewer", "operator", "manager")
    }

    can_release = [role for role, page in pages.items() if "/quarantine/release/" in page]
    can_dismiss = [role for role, page in pages.items() if "/quarantine/dismiss/" in page]
    assert can_release == ["operator", "manager"]
    assert can_dismiss == ["manager"]


def test_dismissing_needs_a_reason(user_of, row_url):
    response = user_of("manager").post("/quarantine/dismiss/", {"cause": CAUSE, "reason": " "})

    assert response.status_code == 302
    assert Quarantine.objects.open().count() == 2


@dataclass(frozen=True)
class Target:
    """What a form of the pages means, one row or all of a cause, and how many rows that are."""

    fields: dict[str, str]
    count: int

    @property
    def dismissal(self) -> dict[str, str]:
        return self.fields | {"reason": "A test till."}


@pytest.fixture(params=["one row", "all of a cause"])
def target(row_url, request) -> Target:
    if request.param == "one row":
        return Target({"case": case_in(row_url)}, 1)
    return Target({"cause": CAUSE}, 2)


@pytest.mark.finding(id="U6")
@pytest.mark.slow
def test_dismissing_asks_for_confirmation(user_of, target):
    page = text_of(user_of("manager").post("/quarantine/dismiss/", target.dismissal))

    question = {1: "Dismiss 1 row?", 2: "Dismiss 2 rows?"}[target.count]
    assert question in page
    assert "A test till." in page
    [(name, value)] = target.fields.items()
    assert f'name="{name}" value="{escape(value)}"' in page
    assert Quarantine.objects.open().count() == 2


@pytest.mark.finding(id="U6")
@pytest.mark.slow
def test_dismissing_that_is_confirmed_offers_to_reopen(user_of, target):
    form = target.dismissal | {"sure": "yes"}

    page = text_of(user_of("manager").post("/quarantine/dismiss/", form, follow=True))

    assert "dismissed. You can reopen dismissed rows here." in page
    assert "/quarantine/reopen/" in page
    assert Quarantine.objects.open().count() == 2 - target.count


@pytest.mark.finding(id="U6")
@pytest.mark.slow
def test_dismissed_rows_can_be_reopened(user_of, row_url, target):
    manager = user_of("manager")
    manager.post("/quarantine/dismiss/", target.dismissal | {"sure": "yes"})

    page = text_of(manager.post("/quarantine/reopen/", target.fields, follow=True))

    assert "reopened." in page
    assert Quarantine.objects.open().count() == 2
    row_page = " ".join(text_of(manager.get(row_url)).split())
    assert "Previously dismissed by manager: A test till." in row_page
    assert "/quarantine/dismiss/" in row_page


@pytest.mark.finding(id="U6")
@pytest.mark.slow
def test_an_operator_cannot_reopen_dismissed_rows(user_of, target):
    user_of("manager").post("/quarantine/dismiss/", target.dismissal | {"sure": "yes"})

    response = user_of("operator").post("/quarantine/reopen/", target.fields)

    assert response.status_code == 403
    assert Quarantine.objects.open().count() == 2 - target.count


@pytest.fixture
def correction(row_url) -> dict[str, str]:
    """The fields of the form that corrects the first row, but for the e-mail address."""
    guid = Case.objects.get(pk=case_in(row_url)).async_account
    names = {"first_name": "Ann", "last_name": "Lee"}
    return {"operation": "create", "async_account": str(guid)} | names


def test_the_form_of_a_correction_shows_the_bad_value(user_of, row_url):
    assert 'value="nobody"' in text_of(user_of("manager").get(f"{row_url}correct/"))


def test_the_form_of_a_sale_marks_the_wrong_field_and_what_the_till_wrote(user_of, houston):
    make_sale(houston, transaction_type="gift")
    run(JobCode.UPLOAD)
    case = Case.objects.get()

    page = text_of(user_of("manager").get(f"{case.get_absolute_url()}correct/"))

    assert "The till wrote: gift." in page
    assert page.count("is-invalid") == 1
    assert page.count("autofocus") == 1


def marked_fields(client) -> dict[str, str]:
    """The fields that the form of the only row marks, each with what it says about it."""
    form = client.get(f"{Case.objects.get().get_absolute_url()}correct/").context["form"]
    return {name: field.help_text for name, field in form.fields.items() if field.help_text}


def test_the_form_of_a_sale_marks_the_wrong_line(user_of, houston):
    make_sale(houston, lines=[article("1.00"), article("2.00") | {"item_id": "x" * 21}])
    run(JobCode.UPLOAD)

    marked = marked_fields(user_of("manager"))

    assert marked == {"line-2-item_id": f"The till wrote: {'x' * 21}."}


def test_the_form_of_a_sale_marks_nothing_if_it_cannot_tell_what_is_wrong(user_of, houston):
    # The form accepts every currency of three letters, the header's and the payment's.
    make_sale(houston, payments=[CASH | {"currency": "XYZ"}])
    run(JobCode.UPLOAD)

    assert marked_fields(user_of("manager")) == {}


def test_the_form_of_a_sale_marks_an_empty_value_that_it_accepts(user_of, houston):
    make_sale(houston, payments=[CASH | {"tender_type": ""}])
    run(JobCode.UPLOAD)

    marked = marked_fields(user_of("manager"))

    assert marked == {"payment-1-tender_type": "The till wrote: nothing."}


def test_a_card_number_is_masked_also_where_a_long_value_is_cut(user_of, houston):
    card = "4111111111111111"
    make_sale(houston, lines=[article(item_id=f"{'x' * 989}{card}")])
    run(JobCode.UPLOAD)

    [help_text] = marked_fields(user_of("manager")).values()

    assert card[:11] not in help_text


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ({"occurred_at": b"\xff"}, "header-occurred_at"),
        ({"lines": [article(quantity=b"\xff")]}, "line-1-quantity"),
    ],
    ids=["time", "quantity"],
)
def test_the_form_of_a_sale_opens_with_bytes_in_place_of_a_value(user_of, popup, columns, field):
    make_sale(popup, **columns)
    run(JobCode.UPLOAD)

    [(marked, help_text)] = marked_fields(user_of("manager")).items()

    assert marked == field
    assert help_text.startswith("The till wrote: bytes ff.")


@pytest.mark.parametrize("column", ["birth_date", "email"])
def test_the_form_of_a_customer_opens_with_bytes_in_place_of_a_value(user_of, popup, column):
    make_customer(popup, **{column: b"\xff"})
    run(JobCode.UPLOAD)

    marked = marked_fields(user_of("manager"))

    assert "The till wrote: bytes ff." in marked[column]


def test_a_sale_with_bytes_in_place_of_its_time_is_corrected_by_the_command(popup, command):
    make_sale(popup, occurred_at=b"\xff", transaction_id="T-1")
    run(JobCode.UPLOAD)
    assignment = "header-occurred_at=2026-03-01T10:00:00+00:00"

    command("quarantine", "correct", only_case(), "--set", assignment)

    assert RetailTransaction.objects.get().transaction_id == "T-1"


def test_a_row_that_can_be_corrected_offers_that_first(user_of, row_url):
    page = text_of(user_of("manager").get(row_url))

    assert (
        page.index("btn btn-primary") < page.index("Correct</a>") < page.index("Release</button>")
    )
    assert page.count("btn btn-primary") == 1


def test_the_page_of_a_row_shows_the_command_that_shows_it(user_of, row_url):
    page = text_of(user_of("manager").get(row_url))

    assert f"quarantine show {case_in(row_url)}" in page


def test_the_list_names_the_next_step_of_open_rows_only(user_of, row_url):
    next_step = "The corrected event replaces this row."
    manager = user_of("manager")
    open_rows = text_of(manager.get("/quarantine/", headers={"HX-Request": "true"}))
    Quarantine.objects.update(status="superseded", settled_at=timezone.now())

    page = text_of(manager.get("/quarantine/", headers={"HX-Request": "true"}))
    export = text_of(manager.get("/quarantine/?_export=csv"))

    assert next_step in open_rows
    assert next_step not in page
    assert next_step not in export


def test_a_correction_that_breaks_the_rule_again_is_refused(user_of, row_url, correction):
    form = correction | {"email": "still nobody"}

    page = text_of(user_of("manager").post(f"{row_url}correct/", form))

    assert "E-mail: not an e-mail address." in page
    assert not AsyncCustomer.objects.exists()


def test_a_correction_becomes_an_event(user_of, row_url, correction):
    form = correction | {"email": "ann@example.com"}

    page = text_of(user_of("manager").post(f"{row_url}correct/", form, follow=True))

    assert "Corrected." in page
    assert AsyncCustomer.objects.get().email == "ann@example.com"


def test_a_correction_shows_the_wrong_word_among_the_allowed_ones(houston, user_of):
    make_customer(houston, "Ann", customer_type="human")
    run(JobCode.UPLOAD)
    manager = user_of("manager")

    page = text_of(manager.get(f"/quarantine/{only_case()}/correct/"))

    assert '<option value="human" selected>human</option>' in page
    assert '<option value="person">Person</option>' in page


def test_a_corrected_first_name_composes_the_full_name_anew(houston, command):
    long = "A" * 61
    make_customer(houston, long, last_name="Lee", name=f"{long} Lee")
    run(JobCode.UPLOAD)

    command("quarantine", "correct", only_case(), "--set", "first_name=Ann")

    assert AsyncCustomer.objects.get().name == "Ann Lee"


def test_a_row_is_corrected_once(user_of, row_url, correction):
    manager = user_of("manager")
    form = correction | {"email": "ann@example.com"}
    manager.post(f"{row_url}correct/", form)

    page = text_of(manager.post(f"{row_url}correct/", form, follow=True))

    assert "resolved in the meantime" in page
    assert AsyncCustomer.objects.count() == 1


@pytest.mark.slow
@pytest.mark.parametrize("seconds", ["12", "12.345670", "12.345678"])
def test_two_events_with_one_id_are_shown_side_by_side(user_of, houston, seconds):
    event_id = "00000000-0000-4000-8000-00000000000a"
    occurred_at = f"2026-03-01T10:00:{seconds}+00:00"
    make_customer(houston, "Ann", event_id=event_id, occurred_at=occurred_at)
    run(JobCode.UPLOAD)
    # The same event is sent again, and HQ has other content.
    overwrite_events("async_customer", "first_name = 'Held'")
    query(houston, "UPDATE async_customer SET acknowledged_at = NULL")
    run(JobCode.UPLOAD)

    page = text_of(user_of("operator").get(f"/quarantine/{Quarantine.objects.get().pk}/"))

    values = {part.strip() for part in page.replace("<", ">").split(">")}
    assert {"Held", "Ann"} <= values
    assert page.count("differs") == 1


def quarantine_attribute(database: ChannelDatabase, event_id: UUID, value: str) -> Quarantine:
    """Quarantine an attribute event, with a value that an upload would refuse."""
    return Quarantine.objects.create(
        database=database,
        session=UploadSession.objects.get(),
        table="async_attribute",
        row_key="1",
        event_id=event_id,
        reason="event_conflict",
        raw=json.dumps({"event_id": str(event_id), "value": value}).encode(),
        payload_hash=b"1",
    )


@pytest.mark.finding(id="S4")
def test_a_long_value_is_shortened_without_delay(user_of, houston, command):
    guid, event_id = make_customer(houston, "Ann"), uuid4()
    make_event("attribute", houston, async_account=guid, event_id=event_id, value="M")
    run(JobCode.UPLOAD)
    row = quarantine_attribute(houston, event_id, f"2024-01-01 00:00:00.{'0' * LONG}x")
    url = f"/quarantine/{row.pk}/"
    client = user_of("operator")
    client.get(url)

    start = time.process_time()
    page = text_of(client.get(url))
    output = command("quarantine", "show", str(row.pk))
    seconds = time.process_time() - start

    assert seconds < 2
    assert "and 59,021 more letters" in page
    assert "and 59,021 more letters" in output
    document = json.loads(command("quarantine", "show", str(row.pk), "--json"))
    assert len(document["values"]["value"]) > LONG


@pytest.mark.finding(id="S4")
@pytest.mark.parametrize(
    ("value", "other_value", "is_equal"),
    [
        ("2026-03-01T10:00:12.500000Z", "2026-03-01 10:00:12.5+00", True),
        ("2026-03-01 10:00:12+00:00", "2026-03-01T10:00:12.000Z", True),
        ("2026-03-01 10:00:12+00:00", "2026-03-01T10:00:12.001Z", False),
        ("0" * LONG, "0" * LONG + "x", False),
    ],
    ids=["fraction", "zero fraction", "one millisecond", "long"],
)
def test_times_are_compared_without_delay(value, other_value, is_equal):
    start = time.process_time()

    assert (comparable_value(value) == comparable_value(other_value)) is is_equal
    assert time.process_time() - start < 0.5


@pytest.mark.finding(id="S4")
def test_a_long_sale_is_shown_with_its_first_lines(user_of, houston):
    make_sale(houston, *["1.00"] * 230, transaction_type="layaway")
    run(JobCode.UPLOAD)

    page = text_of(user_of("operator").get(f"/quarantine/{Quarantine.objects.get().pk}/"))

    assert "30 more not shown." in page
    assert page.count(">Lamp</td>") == 200


@pytest.mark.parametrize(
    "url", ["/quarantine/7/", "/quarantine/cause/?cause=x", "/quarantine/nothing/"]
)
def test_an_unknown_row_or_cause_is_not_found(boss, url):
    assert boss.get(url).status_code == 404


def test_an_unknown_row_cannot_be_released(boss):
    assert boss.post("/quarantine/release/", {"case": "7"}).status_code == 404
