"""What pictures and rows are measured by: pixels, gradients, bands of frequency, columns."""
