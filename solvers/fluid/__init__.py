"""`fluid`: a linear program over resident fractions, cut into slices, with a certified bound."""
