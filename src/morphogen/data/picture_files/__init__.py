"""Read untrusted picture files: the content decides the format, of a fixed list, and checks precede decoding."""
