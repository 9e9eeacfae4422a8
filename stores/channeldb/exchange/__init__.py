"""What HQ reads and writes at a visit to a channel, the same on both engines."""
