"""The real-time service: tills create customers at headquarters (HQ) at once, and look up accounts.

A till that cannot reach it writes the same event, with the same ids, into its channel's database,
and the P-job brings it to HQ. So the service stages the event that the till would have written, and
conversion creates the account: there is no second way into HQ. Source: docs/real-time-service.md.
"""
