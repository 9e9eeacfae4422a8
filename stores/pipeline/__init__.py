"""The ring: how a customer gets from a till to headquarters (HQ) and back, and sales with it.

    channel db --upload--> staging --convert--> HQ customer --download--> channel db
                              |
                              +--sales--> sales orders, statements, invoices

A step works on one channel database or one company. It reads one station and writes the next, a
chunk a transaction: write the destination, commit, then acknowledge the source. Steps do not know
each other; rows and their states connect them. `stores.jobs.catalog` says which steps a job has.

To read it: events (what channels send), then upload, convert, download and sales in the order of
the picture, each from the file that bears its name. fence guards every visit to a channel, and
number_journal and issuing every number. corrections is what people do, integrity what checks the
whole and mends it. Nothing is imported here, so a file brings along only what it needs.
"""
