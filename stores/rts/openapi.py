"""The description of the service, in the form of OpenAPI 3.1."""

from typing import Any

from stores.messages.labels import label
from stores.pipeline.events.kinds import CUSTOMER
from stores.pipeline.events.rules import max_lengths
from stores.rts.body import FIELDS, GUID_PATTERN, REQUIRED
from stores.values.patterns import WORDS

# What every call can be refused with, and only those that send a body.
REFUSALS = {
    "401": "The token is missing, wrong, expired or revoked.",
    "403": "Not from here, not by HTTP, or the channel is switched off.",
    "429": "Too many calls of this token in a minute. Retry-After says when it has others.",
    "503": "Headquarters cannot do this now. Call again after Retry-After, or write the event into"
    " the channel's database.",
}
REFUSALS_OF_BODIES = {
    "400": "The body is not strict JSON, or a field has not the form that it needs.",
    "409": "The GUID or the event id has been used for something else. Nothing has changed.",
    "411": "The length of the body is not sent.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "422": "Headquarters refuses the customer, and has stored nothing.",
}
TEXT_OR_NULL = {"type": ["string", "null"]}
GUID = {"type": "string", "format": "uuid", "pattern": GUID_PATTERN}
FORMS: dict[str, dict[str, Any]] = {
    "event_id": GUID | {"description": "Made by the till; the same in each try."},
    "async_account": GUID | {"description": "The customer's temporary GUID, made by the till."},
    "occurred_at": {
        "type": "string",
        "format": "date-time",
        "description": "When the till did it, with the offset from UTC.",
    },
    "birth_date": {**TEXT_OR_NULL, "format": "date"},
}


def description(address: str) -> dict[str, Any]:
    """Return the document; `address` is where the paths begin."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Syncline real-time service",
            "version": "1",
            "description": "Tills create customers at headquarters and look up their accounts.",
        },
        "servers": [{"url": address}],
        "security": [{"token": []}],
        "paths": {
            "/customers": {"post": creation()},
            "/accounts/{async_account}": {"get": look_up()},
        },
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`<id>.<secret>`, as `rts_token` prints it.",
                }
            },
            "schemas": {
                "Customer": customer(),
                "Account": account(),
                "Pending": pending(),
                "Error": error(),
            },
        },
    }


def creation() -> dict[str, Any]:
    return {
        "operationId": "createCustomer",
        "summary": "Create a customer, and get its account",
        "description": "The same call again has the same answer, however often and however late.",
        "requestBody": {"required": True, "content": content("Customer")},
        "responses": {
            "200": response("The customer was created before.", "Account"),
            "201": response("The customer has been created.", "Account"),
            **without_account(),
            **refusals(REFUSALS_OF_BODIES | REFUSALS),
        },
    }


def look_up() -> dict[str, Any]:
    return {
        "operationId": "getAccount",
        "summary": "Look up the account of a temporary GUID",
        "parameters": [{"name": "async_account", "in": "path", "required": True, "schema": GUID}],
        "responses": {
            "200": response("The customer has an account.", "Account"),
            **without_account(),
            "404": response("The channel has no customer with this GUID.", "Error"),
            **refusals(REFUSALS),
        },
    }


def without_account() -> dict[str, Any]:
    return {"202": response("Headquarters has the customer, but no account for it yet.", "Pending")}


def refusals(texts: dict[str, str]) -> dict[str, Any]:
    return {status: response(text, "Error") for status, text in sorted(texts.items())}


def response(text: str, schema: str) -> dict[str, Any]:
    return {"description": text, "content": content(schema)}


def content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def customer() -> dict[str, Any]:
    return closed({field: property_of(field) for field in FIELDS}, required=REQUIRED)


def property_of(field: str) -> dict[str, Any]:
    if field in FORMS:
        return FORMS[field]
    if words := WORDS.get(field):
        return {"enum": [*words, None], "description": label(field)}
    form: dict[str, Any] = {**TEXT_OR_NULL, "description": label(field)}
    if longest := max_lengths(CUSTOMER).get(field):
        form["maxLength"] = longest
    return form | {"format": "email"} if field.endswith("email") else form


def account() -> dict[str, Any]:
    properties = {"async_account": GUID, "company": {"type": "string"}}
    return closed(properties | {"account_number": {"type": "string"}})


def pending() -> dict[str, Any]:
    properties = {
        "async_account": GUID,
        "company": {"type": "string"},
        "account_number": {"type": "null"},
        "state": {"enum": ["not_synchronized", "waiting", "failed"]},
        "message": {"type": "string"},
    }
    return closed(properties)


def error() -> dict[str, Any]:
    sentences = {"type": "object", "additionalProperties": {"type": "string"}}
    text = {"type": "string"}
    return closed({"code": text, "message": text, "fields": sentences})


def closed(
    properties: dict[str, Any], *, required: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """Return the schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties if required is None else required),
        "properties": properties,
    }
