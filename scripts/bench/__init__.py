"""What scripts/bench.py is made of: a module a benchmark, and what they share."""
