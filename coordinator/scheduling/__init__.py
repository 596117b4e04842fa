"""Which work is next, and how much of it: estimates, order, cuts."""
