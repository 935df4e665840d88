"""What people look at: picture sheets, animations, curves, tables, progress bars and self-contained HTML."""
