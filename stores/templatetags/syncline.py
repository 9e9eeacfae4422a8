"""The tags and filters of stores/web: built into all templates, so that none has to load them."""

from django import template

from stores.web import components, permissions, states
from stores.web import format as formats

register = template.Library()

for block in (components.capture, components.card, components.fact, components.table):
    register.simple_block_tag(block)
for tag in (
    components.back,
    components.badge,
    components.command,
    components.guid,
    components.icon,
    components.link,
    components.outcome,
    components.query_url,
    components.stat,
    components.when,
):
    register.simple_tag(tag)
for tag_of_context in (components.menu_link, formats.next_step):
    register.simple_tag(tag_of_context, takes_context=True)
register.inclusion_tag("balance/_part.html")(formats.part)
register.inclusion_tag("balance/_captured.html")(formats.captured)
register.inclusion_tag("components/post_button.html")(components.post_button)
register.inclusion_tag("components/reason_form.html")(components.reason_form)
register.inclusion_tag("components/start_button.html", takes_context=True)(components.start_button)
for function in (
    formats.amount,
    formats.because,
    formats.capped,
    formats.clock,
    formats.control,
    formats.figure,
    formats.lag_words,
    formats.length_words,
    formats.masked,
    formats.may_start,
    formats.may_start_any,
    formats.money,
    formats.number,
    formats.quantity,
    formats.reason_words,
    formats.rows_word,
    formats.signed,
    formats.size,
    formats.took,
    formats.who_may_start,
    permissions.message_for,
    permissions.sees_errors,
    states.event_icon,
    states.event_word,
    states.order_look,
    states.step_word,
):
    register.filter(function)
