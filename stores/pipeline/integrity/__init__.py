"""What checks the whole and mends it: promises, comparison with channels, recovery."""
