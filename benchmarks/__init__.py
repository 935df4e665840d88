"""What this project measures of itself and of its peers; README.md lists the commands."""
