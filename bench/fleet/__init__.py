"""What must hold of a fleet, measured: each file is a command; figures go to bench/results/fleet.json."""
