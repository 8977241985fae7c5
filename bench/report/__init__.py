"""What becomes of a report: its schema, tables, comparison, plots and page."""
