"""From the optimum of the LP to whole slices: cutting, rounding, addresses, joining."""
