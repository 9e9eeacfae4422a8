"""The history of one customer, from what HQ holds. Reads every station, writes none.

A reference is a GUID (any case, braces allowed), an account number (COMPANY:ACCOUNT where two
companies have it), the number of a sale, receipt or order that names the customer, an e-mail
address in any case, or a phone number by its digits. GUIDs, accounts and documents come first;
e-mails and phones may fit several people, so `matches` lists them.

Texts name fields and no values. Only what an edit changed is shown as old -> new: a trace is for
people who may see the customer. What channels hold beyond HQ's knowledge is looked up by
`stores.pipeline.channel_search`, for commands alone, and joined in by `with_channel_results`.
"""
