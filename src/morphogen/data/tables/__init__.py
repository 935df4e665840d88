"""Tables: files and data frames to cells with a schema, and cells back to files."""
