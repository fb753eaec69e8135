"""The HTML report of a plan: its data as one JSON document, and the page that shows it."""
