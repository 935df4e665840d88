"""Output for people: picture sheets, animations, curves, tables, progress bars and self-contained HTML."""
