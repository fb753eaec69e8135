"""`divide`: programs too long for one exact solve, part by part."""
