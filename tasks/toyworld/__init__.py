"""Toyworld: a small rendered 3-D world with exact masks, depth, captions and identities."""
