"""What people do: correct customers, quarantined rows and sales, and settle conflicts."""
