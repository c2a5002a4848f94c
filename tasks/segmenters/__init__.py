"""Segmenters: a photo in, the subject's mask out. Every file but base.py and those that begin with _ is an
option by its name.
"""
