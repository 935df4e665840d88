"""The command line: a face over `api` and `report`."""
