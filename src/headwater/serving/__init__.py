"""What a service needs of a factory: look-ups, neighbours, retrieval. No torch."""
