"""Template tags of components escape what they are given, and cope with missing values."""

from datetime import UTC, date, datetime

import pytest
from django.template import Context, Template

AT_THREE = datetime(2026, 11, 30, 15, 34, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"


def render(source: str, **context: object) -> str:
    """Render a template with the components. Returns the HTML with single spaces."""
    html = Template(source).render(Context(context))
    return " ".join(html.split())


def test_dates_are_written_as_in_lists():
    html = render("{{ day }}, {{ moment }}", day=date(2006, 5, 11), moment=AT_THREE)

    assert html == "2006-05-11, 2026-11-30 15:34"


@pytest.mark.parametrize(
    "source",
    [
        "{% card text %}{% endcard %}",
        "{% card 'Totals' note=text %}{% endcard %}",
        "{% card 'Totals' '/statements/' text %}{% endcard %}",
        "{% card 'Totals' %}{{ text }}{% endcard %}",
        "{% table text %}{% endtable %}",
        "{% fact text %}{% endfact %}",
        "{% fact 'Receipt' %}{{ text }}{% endfact %}",
        "{% stat 3 text '/statements/' %}",
        "{% back '/statements/' text %}",
        "{% badge 'on' text %}",
        "{% guid text True %}",
        "{% command text %}",
        "{% post_button text '/runs/start/' %}",
        "{% post_button 'Run' '/runs/start/' channel=text %}",
    ],
)
def test_a_component_escapes_its_arguments_and_content(source):
    html = render(source, text=SCRIPT)

    assert "&lt;script&gt;" in html
    assert SCRIPT not in html


def test_a_fact_without_a_value_shows_a_dash():
    html = render("{% fact 'Receipt' %} {{ blank }} {% endfact %}", blank="")

    assert "<dd>\N{EN DASH}</dd>" in html


def test_a_link_without_a_row_is_a_dash():
    assert render("{% link row %}", row=None) == "\N{EN DASH}"


def test_a_query_url_has_only_the_filters_that_are_set():
    url = render("{% query_url 'transactions' q=text rule='' channel=None %}", text="a & b")

    assert url == "/transactions/?q=a+%26+b"


def test_a_button_posts_to_a_named_page_or_its_own():
    named = render("{% post_button 'Release' 'release-order' 7 %}")

    assert 'action="/orders/7/release/"' in named
    assert 'action=""' in render("{% post_button 'Resume' %}")


def test_a_button_posts_only_the_fields_that_are_set():
    html = render("{% post_button 'Release' '/x/' case='7' cause='' %}")

    assert 'name="case" value="7"' in html
    assert "cause" not in html
