"""Private training: gradients of single units, clipped and with noise, and the ledger of what they cost."""
