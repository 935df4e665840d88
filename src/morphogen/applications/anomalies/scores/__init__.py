"""How strange a record is, by its distance, a model, or a classifier of what was planted."""
