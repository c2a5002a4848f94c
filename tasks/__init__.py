"""What a stage does, as plain functions; knows nothing of Prefect and DVC."""

import os

# Turns of a loop for which a thread of PyTorch's team waits for the others before it sleeps. GNU OpenMP's own 300,000 keep a core
# busy for longer than an operator of a small model takes: where anything else runs on the machine, a training step becomes twenty
# times as long, with ours three times (bench/busy_core.py). Read when PyTorch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
