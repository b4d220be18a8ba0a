"""Schema and nn joined: upstream models make vectors, downstream models read them."""
