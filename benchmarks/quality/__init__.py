"""How good models are that are trained here, each beside baselines and peers."""
