"""Channel -> staging, or quarantine: what channels wrote, as they wrote it."""
