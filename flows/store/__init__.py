"""DVC's part: what is stale, every version of every output, and the way to the remote."""
