"""How the data that the package ships came about."""
