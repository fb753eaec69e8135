"""What a refusal advises: options that the same command takes, and that lead to a plan."""
