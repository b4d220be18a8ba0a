"""The day, in order, and its steps as values."""
