"""What a value may look like, wherever it is entered: codes of ISO, addresses, numbers, letters."""
