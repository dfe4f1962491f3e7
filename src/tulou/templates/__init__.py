"""Templates: sample businesses that `tulou init` writes out, generated from a seed."""
