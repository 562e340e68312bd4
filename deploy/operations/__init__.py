"""What is done to devices: push, status, rollback, remove, one or a fleet of them."""
