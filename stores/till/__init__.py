"""The reference till: what a register of a store does, as any other make of till could do it.

It knows the databases of its channel and, at most, the real-time service: never HQ's own tables. It
goes by the settings in the database that it works in, so what an administrator changes holds here
once jobs 1070 and 1110 have brought it. It writes events with the ids that it has made, everything
that belongs together in one transaction, and says that something is saved only after the commit.
Nobody at a till is shown a GUID: a customer without an account is *Pending sync*.

- `counter` says where a till stands: which channel and register, offline or not.
- `customers` and `sales` are what people do at it; `look_up` is what they read.
- `rules` are HQ's rules of values, checked before a save; `refusals` is how a till says no.
- `service` calls the real-time service over HTTP.
"""
