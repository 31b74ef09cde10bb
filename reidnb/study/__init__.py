"""The study: which experiments its tables need, and what their runs say beside the published numbers."""
