"""The pages: what answers a browser. Nothing here opens a channel."""
