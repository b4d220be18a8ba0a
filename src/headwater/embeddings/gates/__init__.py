"""What an edition must satisfy before it is published: evidence, figures, and checks of them."""
