"""Orders of operators: the smallest peak, and orders together with the assignment."""
