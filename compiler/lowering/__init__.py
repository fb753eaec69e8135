"""From a graph and an order to a program: aliases and their proof, live ranges, ranged uses."""
