"""The database of a channel: what tills and HQ may rely on in it, and how HQ reaches it.

A channel's database belongs to its tills. They add events with plain SQL, in any language, and
never change one; HQ reads what is not acknowledged, keeps it, and only then acknowledges it, row by
row. What HQ tells the channel (accounts, customers, settings) is in tables that HQ alone writes.

- `schema` describes the tables as data; `ddl` and `guards` make SQL of it for PostgreSQL and
  SQLite, with the triggers that keep events as they were written. Names are the contract's, final.
- `migrations` apply it: `create_channel` and `migrate_channels` call `create.migrate_database`.
- `models` are the same tables for Python. Bulk work uses raw cursors and COPY instead.
- `connection.connect(database)` opens a channel for one `with` block and this thread only;
  `address` says which URLs it accepts.
- `router` makes a query without a chosen channel fail instead of reading HQ.

What does not belong here: any rule about customers, numbers or jobs. Past `connection` nobody meets
a driver's exception or its text, which may quote personal data.
"""
