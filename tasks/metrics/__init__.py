"""Scores: every file (base.py and `_...` aside) is one that params.yaml can name under `evaluate.metrics`."""
