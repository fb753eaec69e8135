"""The report: one HTML file that shows a plan, what it costs and what would help."""
