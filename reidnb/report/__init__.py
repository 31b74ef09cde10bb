"""The report: tables, the page, and what notebooks display."""
