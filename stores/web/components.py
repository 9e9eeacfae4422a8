"""The blocks that pages are built of; their HTML is in templates/components/."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db.models import Model
from django.shortcuts import resolve_url
from django.template.loader import get_template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import slugify

from stores.models.run import LEFT_BEHIND, Outcome
from stores.web.format import EMPTY_VALUE, ago
from stores.web.states import LOOKS, QUIET


def render(name: str, /, **context: Any) -> SafeString:
    """A component without the line break at the end of its file: text may follow directly."""
    return SafeString(get_template(f"components/{name}.html").render(context).strip())


def capture(content: SafeString) -> SafeString:
    """Keep a part of a page in a variable, to show it twice: {% capture as name %}."""
    return content


def card(
    content: SafeString,
    title: str,
    url: str = "",
    action: str = "",
    *,
    note: str = "",
    id: str = "",
) -> SafeString:
    """A section with a title and a note after it, and a link beside it if there is a URL."""
    context = {"content": content, "title": title, "note": note, "url": url, "action": action}
    return render("card", **context, id=id or slugify(title))


def table(content: SafeString, title: str, *headings: str, css: str = "") -> SafeString:
    """A table that scrolls where the screen is too narrow.

    The content is its rows; without headings, it is all of the table. A heading can end with what
    its column is: `Total: num sm` are numbers, which only screens from the size sm on show.
    """
    columns = [split_heading(heading) for heading in headings]
    return render("table", content=content, title=title, columns=columns, css=css)


def split_heading(heading: str) -> tuple[str, str]:
    """The text of a heading, and the classes of its cell."""
    text, _, looks = heading.partition(": ")
    classes = [look if look == "num" else f"d-none d-{look}-table-cell" for look in looks.split()]
    return text, " ".join(classes)


def fact(content: SafeString, name: str, *, css: str = "") -> SafeString:
    """A name and its value in a list of facts; a dash where the value is blank."""
    return render("fact", content=SafeString(content.strip()), name=name, css=css)


def back(to: str | Model, words: str) -> SafeString:
    """A link to the page above; `to` is a URL, the name of one, or a row that has a page."""
    return render("back", url=resolve_url(to), words=words)


def stat(count: int, words: str, url: str = "") -> SafeString:
    """A number with its unit, and the list behind it if there is a URL."""
    return render("stat", count=count, words=words, url=url)


def query_url(page: str, **query: Any) -> str:
    """The URL of a page with a query; what is empty stays out."""
    return reverse(page, query={name: value for name, value in query.items() if value})


def link(row: Any, words: str = "") -> str:
    """A link to the page of a row; a dash where there is none."""
    if not row:
        return EMPTY_VALUE
    return format_html('<a href="{}">{}</a>', row.get_absolute_url(), words or row)


def menu_link(context: Mapping[str, Any], words: str, icon: str, page: str) -> SafeString:
    """A link of the menu, marked on its page and on those below it."""
    url, path = reverse(page), context["request"].path
    is_here = path.startswith(url) if page != "home" else path == url
    return link_of_menu(words, icon, url, is_here=is_here)


@lru_cache(maxsize=500)
def link_of_menu(words: str, icon: str, url: str, *, is_here: bool) -> SafeString:
    """A link of the menu, which each page has."""
    return render("menu_link", url=url, icon=icon, words=words, is_here=is_here)


def post_button(
    words: str, to: str = "", *args: Any, icon: str = "", look: str = "primary", **fields: Any
) -> dict[str, Any]:
    """A button that posts fields; empty fields stay out.

    `to` is a URL or the name of one, with its arguments; without it, the page posts to itself.
    """
    return {
        "url": resolve_url(to, *args) if to else "",
        "fields": {name: value for name, value in fields.items() if value},
        "words": words,
        "icon": icon,
        "look": look,
    }


def start_button(
    context: Mapping[str, Any], job: str, words: str, *, look: str = "primary", **fields: Any
) -> dict[str, Any]:
    """A button that starts a job with these fields, for users who may start it."""
    button = post_button(words, "start-run", icon="play-fill", look=look, job=job, **fields)
    return button | {"user": context["user"], "job": job}


def reason_form(words: str, to: str = "", *args: Any, **options: Any) -> dict[str, Any]:
    """A post_button with a field for a reason, which people must enter."""
    return post_button(words, to, *args, **options)


def badge(code: str, word: str = "") -> SafeString:
    look = LOOKS.get(code, QUIET)
    word = str(word or code.replace("_", " ").capitalize())
    return badge_of(word, look.colour, look.icon, spins=code == "running")


@lru_cache(maxsize=500)
def badge_of(word: str, colour: str, icon: str, *, spins: bool) -> SafeString:
    """A badge; a long list has the same few ones on each of its rows."""
    return render("badge", word=word, colour=colour, icon=icon, spins=spins)


def outcome(row: Outcome) -> SafeString:
    """A badge with the outcome of a run or a step, and what failed in it."""
    look, spins = LOOKS[row.status], row.status == "running"
    # All went well but for some rows.
    is_warning = look.colour == "success" and row.nonzero_counts(*LEFT_BEHIND)
    colour = "warning" if is_warning else look.colour
    return badge_of(row.verdict, colour, look.icon, spins=spins)


@lru_cache(maxsize=500)
def icon(name: str, css: str = "") -> SafeString:
    """A decoration: whatever it says must be said in words, too."""
    return render("icon", name=name, css=css)


def when(moment: datetime | None, otherwise: str = EMPTY_VALUE) -> SafeString:
    """How long ago a time was; the tooltip has the exact time."""
    return render("when", moment=moment, age=ago(moment), otherwise=otherwise)


def guid(value: object, copy: bool = False) -> SafeString:
    """A GUID that takes little room and is marked and copied in full."""
    return render("guid", value=str(value) if value else "", copy=copy)


def command(words: str) -> SafeString:
    """The command that does what a button does."""
    return render("command", command=f"python3 manage.py {words}")
