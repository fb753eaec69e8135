"""What every room stands on: errors, units, data types, files, the cache of compiled kernels."""
