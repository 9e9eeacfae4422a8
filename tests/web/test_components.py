"""The blocks that pages are built of: blank-safe, and nothing they are given is taken for HTML."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template import Context, Template

SCRIPT = "<script>alert(1)</script>"


def draw(source: str, **context: object) -> str:
    """A template's HTML, with each run of white space as one blank."""
    html = Template("{% load components %}" + source).render(Context(context))
    return " ".join(html.split())


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
def test_what_a_block_is_given_is_text_and_not_html(source):
    html = draw(source, text=SCRIPT)

    assert "&lt;script&gt;" in html
    assert SCRIPT not in html


def test_a_fact_without_a_value_shows_a_dash():
    assert "<dd>\N{EN DASH}</dd>" in draw(
        "{% fact 'Receipt' %} {{ blank }} {% endfact %}", blank=""
    )


def test_a_link_to_no_row_is_a_dash():
    assert draw("{% link row %}", row=None) == "\N{EN DASH}"


def test_a_url_names_only_the_filters_that_are_set():
    url = draw("{% query_url 'transactions' q=text rule='' channel=None %}", text="a & b")

    assert url == "/transactions/?q=a+%26+b"


def test_a_button_that_needs_a_right_is_shown_to_nobody_without_it():
    button = "{% post_button 'Undo' '/x/' right='mend_transaction' %}"

    assert draw(button, user=AnonymousUser()) == ""


def test_a_button_posts_only_the_fields_that_are_set():
    html = draw("{% post_button 'Release' '/x/' case='7' cause='' %}")

    assert 'name="case" value="7"' in html
    assert "cause" not in html
