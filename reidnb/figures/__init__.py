"""Pictures and tables for the notebooks and the report."""
