"""Networks whose results are the same bits on every machine: integer weights, fixed-point activations, exact sums."""
