"""Whether what measures is right: intervals, metrics and steppers against truths that are known."""
