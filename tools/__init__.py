"""What keeps this repository in order: programs that write its documents."""
