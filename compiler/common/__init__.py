"""What every other room may use: errors, units, data types, files, compiled kernels."""
