"""Home and the fastest tier only: windows, the program, its relaxation, slices, rounding."""
