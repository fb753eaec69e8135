"""`--state`, `--update`: which outputs are inputs of the next inference, given or found."""
