"""Measure whether pictures show what their captions say."""
