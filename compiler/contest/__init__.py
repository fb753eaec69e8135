"""The MLSys 2026 scheduling contest: its instances, its solutions, and its rules."""
