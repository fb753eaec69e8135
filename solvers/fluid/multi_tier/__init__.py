"""Three tiers and more: paths of bytes by column generation, rounding, addresses."""
