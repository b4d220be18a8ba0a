"""What an edition must satisfy before it is published."""
