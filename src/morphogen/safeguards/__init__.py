"""What a model must answer for: audits, each check with its attacks, controls and limits."""
