"""The context of a number: real records, trivial models, and a ladder of known degradations."""
