"""What every other room may use: errors, units, data types, files, the cache of compiled kernels."""
