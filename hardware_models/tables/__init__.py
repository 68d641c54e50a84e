"""Operation tables: what a published code counted, read from CSV and priced as that code prices it."""
