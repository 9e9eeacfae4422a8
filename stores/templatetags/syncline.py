"""What templates may call of web/format.py and web/states.py."""

from django import template

from stores.web.format import (
    age,
    ago,
    amount,
    because,
    breaks_at_sign,
    capped,
    command,
    control,
    figure,
    guid,
    icon,
    length_words,
    masked,
    may_start,
    name_of,
    next_step,
    number,
    part,
    quantity,
    reason_words,
    rows_word,
    signed,
    size,
    took,
    when,
    who_may_start,
)
from stores.web.states import badge, event_icon, event_word, order_look, outcome, step_word

register = template.Library()

register.inclusion_tag("_badge.html")(badge)
register.inclusion_tag("_badge.html")(outcome)
register.inclusion_tag("_icon.html")(icon)
register.inclusion_tag("_when.html")(when)
register.inclusion_tag("_guid.html")(guid)
register.inclusion_tag("_command.html")(command)
register.filter(ago)
register.filter(age)
register.filter(took)
register.inclusion_tag("_part.html")(part)
register.filter(signed)
register.filter(rows_word)
register.filter(number)
register.filter(length_words)
register.filter(breaks_at_sign)
register.filter(capped)
register.filter(control)
register.filter(size)
register.filter(step_word)
register.filter(event_word)
register.filter(event_icon)
register.filter(masked)
register.filter(name_of)
register.filter(because)
register.filter(amount)
register.filter(quantity)
register.filter(figure)
register.filter(order_look)
register.filter(reason_words)
register.filter(may_start)
register.filter(who_may_start)
register.simple_tag(takes_context=True)(next_step)
