"""How the frozen feature networks that the package ships are trained."""
