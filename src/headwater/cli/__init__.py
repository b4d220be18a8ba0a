"""The commands, a file a family of verbs."""
