"""What a stage does, as plain functions; knows nothing of Prefect and DVC."""

import os

# Turns of a loop for which a thread of PyTorch's team waits for the others before it sleeps; read when PyTorch is imported.
# GNU OpenMP's own 300,000 keep a core busy for longer than an operator of a small model takes: beside one other busy program a
# training step becomes thirty times as long on two cores, with ours four to five times, and alone it is none the slower
# (bench/busy_core.py).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
