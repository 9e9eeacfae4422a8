"""What people type, checked; a file for each noun."""
