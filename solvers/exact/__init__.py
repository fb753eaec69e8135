"""`cpsat`: whole tensors in a fixed order, exactly."""
