"""What templates may call of web/components.py."""

from django import template

from stores.web import components

register = template.Library()

for block in (components.card, components.fact, components.table):
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
register.simple_tag(takes_context=True)(components.menu_link)
register.inclusion_tag("components/post_button.html", takes_context=True)(components.post_button)
register.inclusion_tag("components/start_button.html", takes_context=True)(components.start_button)
