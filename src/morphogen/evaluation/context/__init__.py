"""What a number is read against: real records, trivial models, a ladder of known degradations."""
