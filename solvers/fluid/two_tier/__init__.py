"""Home and the fastest tier only: windows, the linear program, its relaxation."""
