"""Schema and nn joined: the upstream models that make vectors and the downstream models that read
them.
"""
