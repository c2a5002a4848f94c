"""How the miniature and its judges were made. Run once; the results lie in data/."""
