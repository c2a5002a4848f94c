"""`dreamline serve`: a supervisor and its children, each of which may be killed at any moment."""
