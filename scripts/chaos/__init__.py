"""A whole system on loopback, people who use it, faults that hit it, and a checker that believes none of them."""
