"""ToyBench: every method on the same thirty rendered subjects, for which the true picture of every prompt exists."""
