"""The HTML report: what it shows, as data, and the page."""
