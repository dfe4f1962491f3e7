"""Fine-tuning recipes, one file each."""
