"""How fast models train and draw, and what memory they take, beside peers and the machine's ceiling."""
