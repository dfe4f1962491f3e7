"""Model: clean tables in, evaluated, compressed and registered model folders out."""
