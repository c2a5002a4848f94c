"""Stages with the real names, arguments and params, whose work is a hash: what flows and DVC do with them is real."""
