"""Anomaly detection: scores, their p-values, alarms."""
