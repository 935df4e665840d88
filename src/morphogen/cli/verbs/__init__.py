"""A verb a file, in rooms that say what kind of verb it is; each file has its verb and an example of it."""
