"""Pages show a count only where HQ counts it, and call jobs and states by their present names.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `reader` is a client
of a user who may see every page.
"""

import pytest

from stores.jobs.catalog import JOBS
from stores.models import AsyncAttribute, Case, DownloadSession
from stores.models.job import JobCode
from stores.web.lists.runs import RunFilter, all_runs
from tests.support.make import make_customer, make_event, run
from tests.support.staged import open_event

pytestmark = pytest.mark.slow


@pytest.mark.finding(id="A8")
def test_a_failed_event_says_how_often_it_was_tried(reader, houston):
    make_event("attribute", houston, async_account=make_customer(houston), attribute="SIZE")
    run(JobCode.UPLOAD)
    open_event(AsyncAttribute.objects.get(), "failed", "attribute_invalid", attempts=7)

    case = Case.objects.get()
    page = reader.get("/quarantine/cause/", {"cause": str(case.cause)}).content.decode()

    assert case.attempts == 7
    assert '<td class="num">7</td>' in page


@pytest.mark.finding(id="A8")
def test_downloads_to_both_engines_have_a_similar_size(houston, popup):
    make_customer(houston, "Ann")
    run("pipeline")

    sizes = dict(DownloadSession.objects.values_list("database__channel__code", "size_bytes"))

    # The rows are the same, but COPY writes a length before each value.
    assert 0.3 < sizes["popup"] / sizes["houston"] < 1.5


@pytest.mark.finding(id="A8")
@pytest.mark.parametrize(
    ("url", "statuses"),
    [
        (
            "/sessions/uploads/",
            {"available", "uploaded", "applied", "canceled", "upload_failed", "apply_failed"},
        ),
        (
            "/sessions/downloads/",
            {
                "started",
                "create_failed",
                "no_data",
                "available",
                "requested",
                "downloaded",
                "applied",
                "canceled",
                "download_failed",
                "apply_failed",
                "suspended",
            },
        ),
    ],
    ids=["uploads", "downloads"],
)
def test_a_filter_offers_only_states_that_sessions_can_have(reader, url, statuses):
    filters = reader.get(url).context["filters"]

    offered = {value for value, _ in filters.form.fields["status"].choices if value}
    assert offered == statuses


@pytest.mark.finding(id="A13")
def test_the_conversion_has_its_present_title(reader, houston):
    title = "Synchronize customers and channel requests"

    assert JOBS["sync-customers"].title == title
    assert title in reader.get("/jobs/").content.decode()
    assert ("sync-customers", title) in RunFilter({}, all_runs()).form.fields["job"].choices
