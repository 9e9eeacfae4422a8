"""Trace a customer: everything that happened to it, from the tables of headquarters.

A reference is a GUID, an account number (COMPANY:ACCOUNT if two companies have
it), the number of a sale, receipt or order, an e-mail address, or a phone number by its digits.
E-mail addresses and phone numbers are tried last, and may match several customers.

Texts contain names of fields, not values, except for the old and new values of an edit. Commands
also search the channels themselves, with `stores.pipeline.channel_search`.
"""
