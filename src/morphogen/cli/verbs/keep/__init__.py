"""Verbs that keep account: what a model is, whether it is whole, and how a picture was made."""
