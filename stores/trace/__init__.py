"""Trace a customer: everything that happened to it, from the tables of headquarters.

A reference identifies the customer: a GUID (in any case, with or without braces), an account number
(COMPANY:ACCOUNT if two companies have it), the number of a sale, receipt or order of the customer,
an e-mail address in any case, or a phone number by its digits. GUIDs, accounts and documents are
tried first. An e-mail address or a phone number may match several customers, which `matches` lists.

Texts contain names of fields, not values, except for the old and new values of an edit: only people
who may see the customer see its trace. Commands also search the channels themselves, with
`stores.pipeline.channel_search`, and add the results by `with_channel_results`.
"""
