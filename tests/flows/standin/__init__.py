"""Stages with the real names, arguments and params, whose work is a hash."""
