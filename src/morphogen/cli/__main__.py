"""`python -m morphogen.cli`: the same as the `morphogen` command."""

from morphogen.cli.main import main

main()
